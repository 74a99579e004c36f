package integration

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// notDivided is what is wrong with a batch that spec.distributed cannot divide.
const notDivided = `spec.training.batchSize: Invalid value: must be a multiple of spec.distributed.pods × ` +
	`processesPerPod, with at least two images for each process, or one with normalization: Synchronized`

// notOfGPUs is what is wrong with a batch that the GPUs cannot divide.
const notOfGPUs = `spec.training.batchSize: Invalid value: must be a multiple of spec.resources.gpus × spec.distributed.pods, with at ` +
	`least two images for each GPU`

// badSpecs are mistakes, each as what is laid over the spec of jobYAML, and what the user reads.
var badSpecs = map[string]struct{ spec, want string }{
	"no data set":                {`dataset: null`, `spec.dataset: Required value`},
	"no controller":              {`managedBy: nobody`, `spec.managedBy: Invalid value: "nobody": must be a domain and a path, such as kueue.x-k8s.io/multikueue`},
	"a controller's long name":   {`managedBy: a.io/` + strings.Repeat("x", 60), `spec.managedBy: Too long: may not be more than 63 bytes`},
	"no format":                  {`dataset: {format: null}`, `spec.dataset.format: Required value`},
	"unknown format":             {`dataset: {format: ImageNet}`, `spec.dataset.format: Unsupported value: "ImageNet": supported values: "FashionMNIST", "MNIST", "CIFAR10", "CIFAR100", "ImageFolder", "Synthetic"`},
	"no data set uri":            {`dataset: {format: CIFAR10}`, `spec.dataset.uri: Required value: is required: the s3://, https:// or file:// folder or archive that holds the files of this format`},
	"ftp data set":               {`dataset: {format: CIFAR10, uri: "ftp://x/y"}`, `spec.dataset.uri: Invalid value: "ftp://x/y": must be s3://bucket/prefix, https://host/path or file:///folder`},
	"no training images":         {`dataset: {maxTrainImages: 0}`, `spec.dataset.maxTrainImages: Invalid value: 0: spec.dataset.maxTrainImages in body should be greater than or equal to 1`},
	"all for validation":         {`dataset: {validationFraction: 0.9}`, `spec.dataset.validationFraction: Invalid value: 0.9: must be at most 0.5`},
	"mean without std":           {`dataset: {mean: [0.5]}`, `spec.dataset.std: Invalid value: must be given together with mean, or neither`},
	"a size without folder":      {`dataset: {imageSize: 64}`, `spec.dataset.imageSize: Invalid value: is for format: ImageFolder only`},
	"a crop without a size":      {`{dataset: {format: ImageFolder, uri: "s3://data/x"}, training: {augmentation: {randomResizedCrop: {}}}}`, `spec.dataset.imageSize: Invalid value: is required for an ImageFolder with spec.training.augmentation.randomResizedCrop: the size of what is cut out`},
	"a crop's scale":             {`training: {augmentation: {randomResizedCrop: {scale: [0.5, 0.1]}}}`, `spec.training.augmentation.randomResizedCrop.scale: Invalid value: must be two numbers, the smaller one first, above 0 and at most 1`},
	"a crop's ratio":             {`training: {augmentation: {randomResizedCrop: {ratio: [1]}}}`, `spec.training.augmentation.randomResizedCrop.ratio: Invalid value: must be two numbers, the smaller one first, from 0.01 to 100`},
	"resized below the crop":     {`dataset: {format: ImageFolder, uri: "s3://data/x", imageSize: 64, resizeSize: 32}`, `spec.dataset.resizeSize: Invalid value: must be at least imageSize, which it needs`},
	"a test set of one's own":    {`dataset: {testFraction: 0.1}`, `spec.dataset.testFraction: Invalid value: is for format: ImageFolder only`},
	"an orientation elsewhere":   {`dataset: {exifOrientation: Apply}`, `spec.dataset.exifOrientation: Invalid value: is for format: ImageFolder only`},
	"a checksum that is none":    {`dataset: {sha256: {a.bin: abc}}`, `spec.dataset.sha256: Invalid value: must be 64 lower-case hexadecimal digits for each file`},
	"unknown network":            {`model: {architecture: ResNet999}`, `spec.model.architecture: Unsupported value: "ResNet999": supported values: "ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152"`},
	"unknown stem":               {`model: {stem: cifar}`, `spec.model.stem: Unsupported value: "cifar": supported values: "CIFAR", "ImageNet"`},
	"no width":                   {`model: {widthMultiplier: 0}`, `spec.model.widthMultiplier: Invalid value: 0: must be at least 0.125`},
	"a deviation of nothing":     {`dataset: {mean: [0.5], std: [0]}`, `spec.dataset.std[0]: Invalid value: 0: must be at least 0.000001`},
	"endless momentum":           {`training: {optimizer: {type: SGD, momentum: 1}}`, `spec.training.optimizer.momentum: Invalid value: 1: spec.training.optimizer.momentum in body should be less than 1`},
	"endless moments":            {`training: {optimizer: {betas: [0.9, 1]}}`, `spec.training.optimizer.betas[1]: Invalid value: 1: spec.training.optimizer.betas[1] in body should be less than 1`},
	"an average that stands":     {`training: {ema: {decay: 1}}`, `spec.training.ema.decay: Invalid value: 1: must be at most 0.999999`},
	"any hue":                    {`training: {augmentation: {colorJitter: {hue: 1}}}`, `spec.training.augmentation.colorJitter.hue: Invalid value: 1: must be at most 0.5`},
	"too wide":                   {`model: {widthMultiplier: 100}`, `spec.model.widthMultiplier: Invalid value: 100: spec.model.widthMultiplier in body should be less than or equal to 8`},
	"groups without GroupNorm":   {`model: {normalizationGroups: 8}`, `spec.model.normalizationGroups: Invalid value: is for normalization: GroupNorm only`},
	"four channels":              {`model: {inputChannels: 4}`, `spec.model.inputChannels: Unsupported value: 4: supported values: "1", "3"`},
	"no epochs":                  {`training: {epochs: 0}`, `spec.training.epochs: Invalid value: 0: spec.training.epochs in body should be greater than or equal to 1`},
	"half an epoch":              {`training: {epochs: 1.5}`, `spec.training.epochs: Invalid value: "float64": spec.training.epochs in body must be of type int32: "float64", <nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.training.epochs`},
	"epochs as text":             {`training: {epochs: "20"}`, `spec.training.epochs: Invalid value: "string": spec.training.epochs in body must be of type integer: "string"`},
	"one image a batch":          {`training: {batchSize: 1}`, `spec.training.batchSize: Invalid value: 1: spec.training.batchSize in body should be greater than or equal to 2`},
	"negative learning rate":     {`training: {schedule: {maxLR: -1}}`, `spec.training.schedule.maxLR: Invalid value: -1: spec.training.schedule.maxLR in body should be greater than 0`},
	"unknown schedule":           {`training: {schedule: {type: Exponential}}`, `spec.training.schedule.type: Unsupported value: "Exponential": supported values: "OneCycle", "Cosine", "CosineWarmRestarts", "Step", "Polynomial", "ReduceLROnPlateau", "Constant"`},
	"unknown optimiser":          {`training: {optimizer: {type: RMSprop}}`, `spec.training.optimizer.type: Unsupported value: "RMSprop": supported values: "AdamW", "SGD"`},
	"negative weight decay":      {`training: {optimizer: {weightDecay: -1}}`, `spec.training.optimizer.weightDecay: Invalid value: -1: spec.training.optimizer.weightDecay in body should be greater than or equal to 0`},
	"unknown precision":          {`training: {precision: FP8}`, `spec.training.precision: Unsupported value: "FP8": supported values: "Auto", "FP32", "BF16", "FP16"`},
	"FP16 on a CPU":              {`training: {precision: FP16}`, `spec.training.precision: Invalid value: FP16 needs a GPU (spec.resources.gpus); on a CPU use BF16 or Auto`},
	"quantised in FP16":          {"training: {precision: FP16, quantization: {}}\nresources: {gpus: 1}", `spec.training.quantization: Invalid value: needs spec.training.precision Auto, BF16 or FP32: FP16 does not hold the sums of integers`},
	"quantised GroupNorm":        {"training: {quantization: {}}\nmodel: {normalization: GroupNorm}", `spec.training.quantization: Invalid value: needs spec.model.normalization BatchNorm or TinyBatchNorm, which can be folded into a convolution`},
	"quantised GELU":             {"training: {quantization: {}}\nmodel: {activation: GELU}", `spec.training.quantization: Invalid value: needs spec.model.activation ReLU or LeakyReLU, of which there is an int8 form`},
	"precise BN of GroupNorm":    {"training: {evaluation: {preciseBNBatches: 8}}\nmodel: {normalization: GroupNorm}", `spec.training.evaluation.preciseBNBatches: Invalid value: needs spec.model.normalization BatchNorm or TinyBatchNorm, which have running statistics`},
	"precise BN, quantised":      {"training: {evaluation: {preciseBNBatches: 8}, quantization: {}}", `spec.training.evaluation.preciseBNBatches: Invalid value: cannot go with spec.training.quantization, which observes its ranges with the running statistics of the training`},
	"frozen before it starts":    {`training: {quantization: {startAfter: 0.95}}`, `spec.training.quantization.freezeObserversAfter: Invalid value: must be more than startAfter: the ranges of activations are observed in between`},
	"ranges of no images":        {`training: {quantization: {calibrationBatches: 0}}`, `spec.training.quantization.calibrationBatches: Invalid value: 0: spec.training.quantization.calibrationBatches in body should be greater than or equal to 1`},
	"another quantisation":       {`training: {quantization: {method: PTQ}}`, `spec.training.quantization.method: Unsupported value: "PTQ": supported values: "QAT"`},
	"all smoothed":               {`training: {labelSmoothing: 1}`, `spec.training.labelSmoothing: Invalid value: 1: must be at most 0.99`},
	"negative seed":              {`training: {seed: -1}`, `spec.training.seed: Invalid value: -1: spec.training.seed in body should be greater than or equal to 0`},
	"early stopping on the test": {`training: {earlyStopping: {patience: 3}}`, `spec.training.earlyStopping: Invalid value: needs spec.dataset.validationFraction above 0, or an ImageFolder with val/ beside test/: it must not look at the test set`},
	"no storage":                 {`storage: null`, `spec.storage: Required value`},
	"storage without scheme":     {`storage: {uri: models}`, `spec.storage.uri: Invalid value: "models": must be s3://bucket/prefix or file:///folder`},
	"another cloud":              {`storage: {uri: "gs://models"}`, `spec.storage.uri: Invalid value: "gs://models": must be s3://bucket/prefix or file:///folder`},
	"endpoint without scheme":    {`storage: {s3: {endpoint: minio}}`, `spec.storage.s3.endpoint: Invalid value: "minio": must be http://host:port or https://host:port`},
	"endpoint with a path":       {`storage: {s3: {endpoint: "http://minio/x"}}`, `spec.storage.s3.endpoint: Invalid value: "http://minio/x": must be http://host:port or https://host:port`},
	"no certificate":             {`storage: {s3: {caBundle: abc}}`, `spec.storage.s3.caBundle: Invalid value: "abc": must be certificates in PEM format`},
	"checkpoint every 0 epochs":  {`checkpoint: {everyEpochs: 0}`, `spec.checkpoint.everyEpochs: Invalid value: 0: spec.checkpoint.everyEpochs in body should be greater than or equal to 1`},
	"keeps none":                 {`checkpoint: {keepLast: 0}`, `spec.checkpoint.keepLast: Invalid value: 0: spec.checkpoint.keepLast in body should be greater than or equal to 1`},
	"resume from a bucket":       {`resumeFrom: {uri: "s3://models"}`, `spec.resumeFrom.uri: Invalid value: "s3://models": must be s3://bucket/key, https://host/path or file:///path`},
	"weights with an account":    {`resumeFrom: {uri: "https://me:secret@host/w.pth"}`, `spec.resumeFrom.uri: Invalid value: "https://me:secret@host/w.pth": must be s3://bucket/key, https://host/path or file:///path`},
	"weights of a sum":           {`resumeFrom: {uri: "https://host/w.pth", sha256: 11ad3fa6}`, `spec.resumeFrom.sha256: Invalid value: "11ad3fa6": must be 64 lower-case hexadecimal digits`},
	"a part that is none":        {`training: {freeze: [conv1, stem]}`, `spec.training.freeze: Invalid value: must be parts in torchvision's names: conv1, bn1, layer1 to layer4 and fc, or one of a part, such as layer1.0.conv2`},
	"a part twice":               {`training: {freeze: [conv1, conv1]}`, `spec.training.freeze[1]: Duplicate value: "conv1"`},
	"a rate of no part":          {`training: {lrMultipliers: {head: 10}}`, `spec.training.lrMultipliers: Invalid value: must name parts as torchvision does: conv1, bn1, layer1 to layer4 and fc, or one of a part, such as layer1.0.conv2`},
	"a negative rate":            {`training: {lrMultipliers: {fc: -1}}`, `spec.training.lrMultipliers: Invalid value: must be from 0 to 1000 for each part`},
	"thaws what is not frozen":   {`training: {unfreezeAfterEpochs: 1}`, `spec.training.unfreezeAfterEpochs: Invalid value: is for parts that are frozen (freeze)`},
	"thaws behind the end":       {`training: {freeze: [conv1], unfreezeAfterEpochs: 20}`, `spec.training.unfreezeAfterEpochs: Invalid value: must be less than epochs`},
	"a batch not of parts":       {`training: {gradientAccumulationSteps: 3}`, `spec.training.batchSize: Invalid value: must be a multiple of gradientAccumulationSteps`},
	"another sampler":            {`training: {sampler: Random}`, `spec.training.sampler: Unsupported value: "Random": supported values: "Shuffle", "Balanced"`},
	"weights without type":       {`training: {classWeights: {values: [1, 2]}}`, `spec.training.classWeights.values: Invalid value: and type: Values belong together`},
	"values that are none":       {`training: {classWeights: {type: Values}}`, `spec.training.classWeights.values: Invalid value: and type: Values belong together`},
	"a class that is nothing":    {`training: {classWeights: {type: Values, values: [1, 0]}}`, `spec.training.classWeights.values[1]: Invalid value: 0: spec.training.classWeights.values[1] in body should be greater than 0`},
	"never evaluated":            {`training: {evaluation: {everyEpochs: 0}}`, `spec.training.evaluation.everyEpochs: Invalid value: 0: spec.training.evaluation.everyEpochs in body should be greater than or equal to 1`},
	"mixed without end":          {`training: {augmentation: {mixUp: {alpha: 0}}}`, `spec.training.augmentation.mixUp.alpha: Invalid value: 0: must be from 0.01 to 100`},
	"restarts without a length":  {`training: {schedule: {type: CosineWarmRestarts}}`, `spec.training.schedule.restartEpochs: Invalid value: and restartMultiplier belong to type: CosineWarmRestarts, which needs restartEpochs`},
	"a power of cosine":          {`training: {schedule: {type: Cosine, power: 2}}`, `spec.training.schedule.power: Invalid value: is for type: Polynomial only`},
	"a cosine's patience":        {`training: {schedule: {type: Cosine, patience: 2}}`, `spec.training.schedule: Invalid value: metric, factor, patience, threshold, thresholdMode and cooldown are for type: ReduceLROnPlateau only`},
	"a plateau of the test":      {`training: {schedule: {type: ReduceLROnPlateau}}`, `spec.training.schedule.type: Invalid value: ReduceLROnPlateau needs spec.dataset.validationFraction above 0, or an ImageFolder with val/ beside test/: it must not look at the test set`},
	"unknown export":             {`export: {formats: [TFLite]}`, `spec.export.formats[0]: Unsupported value: "TFLite": supported values: "Safetensors", "PyTorch", "ONNX", "ONNXInt8"`},
	"calibrated on nothing":      {`export: {calibrationBatches: 0}`, `spec.export.calibrationBatches: Invalid value: 0: spec.export.calibrationBatches in body should be greater than or equal to 1`},
	"too many GPUs":              {"resources: {gpus: 17}\ntraining: {batchSize: 34}", `spec.resources.gpus: Invalid value: 17: spec.resources.gpus in body should be less than or equal to 16`},
	"a batch not of three GPUs":  {`resources: {gpus: 3}`, notOfGPUs},
	"one image for a GPU":        {"distributed: {pods: 2, encryption: false}\nresources: {gpus: 4}\ntraining: {batchSize: 8}", notOfGPUs},
	"no pods":                    {`distributed: {pods: 0}`, `spec.distributed.pods: Invalid value: 0: spec.distributed.pods in body should be greater than or equal to 1`},
	"a batch that has no third":  {`distributed: {pods: 3}`, notDivided},
	"one image for a process":    {"distributed: {pods: 2, processesPerPod: 2}\ntraining: {batchSize: 4}", notDivided},
	"no image for a process":     {"distributed: {pods: 4, normalization: Synchronized}\ntraining: {batchSize: 2}", notDivided},
	"another compression":        {`distributed: {pods: 2, compression: FP16}`, `spec.distributed.compression: Unsupported value: "FP16": supported values: "None", "BF16"`},
	"another normalization":      {`distributed: {pods: 2, normalization: SyncBatchNorm}`, `spec.distributed.normalization: Unsupported value: "SyncBatchNorm": supported values: "PerProcess", "Synchronized"`},
	"processes on a GPU":         {"distributed: {processesPerPod: 2}\nresources: {gpus: 2}", `spec.distributed.processesPerPod: Invalid value: is for CPUs: on GPUs there is one process for each of spec.resources.gpus`},
	"GPUs that encrypt":          {"distributed: {pods: 2}\nresources: {gpus: 1}", `spec.distributed.encryption: Invalid value: must be false with several pods of GPUs, whose exchange (NCCL) cannot be encrypted: keep others away from it by a NetworkPolicy`},
	"GPUs in step":               {"distributed: {normalization: Synchronized}\nresources: {gpus: 2}", `spec.distributed.normalization: Invalid value: must be PerProcess on GPUs (spec.resources.gpus)`},
	"GPU without a domain":       {`resources: {gpuResource: gpu}`, `spec.resources.gpuResource: Invalid value: "gpu": must be such as nvidia.com/gpu`},
	"a claim of nothing":         {`resources: {resourceClaims: [{name: gpu}]}`, `spec.resources.resourceClaims[0]: Invalid value: must have exactly one of resourceClaimName and resourceClaimTemplateName`},
	"no CPU":                     {`resources: {cpu: "0"}`, `spec.resources.cpu: Invalid value: "0": must be more than 0`},
	"CPU that is no number":      {`resources: {cpu: two}`, `[spec.resources.cpu: Invalid value: "two": spec.resources.cpu in body should match '^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$', spec.resources.cpu: Invalid value: "": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' evaluating rule: must be more than 0]`},
	"negative memory":            {`resources: {memory: "-1Gi"}`, `spec.resources.memory: Invalid value: "-1Gi": must be more than 0`},
	"no disk":                    {`resources: {ephemeralStorage: "0"}`, `spec.resources.ephemeralStorage: Invalid value: "0": must be more than 0`},
	"empty image":                {`image: ""`, `spec.image: Invalid value: "": spec.image in body should be at least 1 chars long`},
	"unknown pull policy":        {`imagePullPolicy: Sometimes`, `spec.imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"`},
	"suspend as text":            {`suspend: "yes"`, `spec.suspend: Invalid value: "string": spec.suspend in body must be of type boolean: "string"`},
	"no failures allowed":        {`retry: {maxFailures: 0}`, `spec.retry.maxFailures: Invalid value: 0: spec.retry.maxFailures in body should be greater than or equal to 1`},
	"backoff of an hour":         {`retry: {backoffSeconds: 3600}`, `spec.retry.backoffSeconds: Invalid value: 3600: spec.retry.backoffSeconds in body should be less than or equal to 600`},
	"start at once":              {`startDeadlineSeconds: 0`, `spec.startDeadlineSeconds: Invalid value: 0: spec.startDeadlineSeconds in body should be greater than or equal to 10`},
	"no time to train":           {`activeDeadlineSeconds: 0`, `spec.activeDeadlineSeconds: Invalid value: 0: spec.activeDeadlineSeconds in body should be greater than or equal to 1`},
	"progress every second":      {`progressDeadlineSeconds: 1`, `spec.progressDeadlineSeconds: Invalid value: 1: must be 0, for none, or at least 10`},
	"negative time to live":      {`ttlSecondsAfterFinished: -1`, `spec.ttlSecondsAfterFinished: Invalid value: -1: spec.ttlSecondsAfterFinished in body should be greater than or equal to 0`},
	"another's label":            {`template: {labels: {job-name: x}}`, `spec.template.labels: Invalid value: app.kubernetes.io/name, app.kubernetes.io/managed-by, controller-uid, job-name and keys of training.resnet-operator.dev/, batch.kubernetes.io/ and kueue.x-k8s.io/ are set by the operator`},
	"our label":                  {`template: {labels: {training.resnet-operator.dev/attempt: "7"}}`, `spec.template.labels: Invalid value: app.kubernetes.io/name, app.kubernetes.io/managed-by, controller-uid, job-name and keys of training.resnet-operator.dev/, batch.kubernetes.io/ and kueue.x-k8s.io/ are set by the operator`},
	"label with a space":         {`template: {labels: {team: a b}}`, `spec.template.labels: Invalid value: each value must be at most 63 letters, digits, '-', '_' and '.'`},
	"label key with a space":     {`template: {labels: {a b: c}}`, `spec.template.labels: Invalid value: each key must be a label key such as team or example.com/team`},
	"AppArmor off":               {`template: {annotations: {container.apparmor.security.beta.kubernetes.io/trainer: unconfined}}`, `spec.template.annotations: Invalid value: keys of *.security.beta.kubernetes.io/ and *.security.alpha.kubernetes.io/ are old switches of a pod's security: it stays as the operator sets it`},
	"our annotation":             {`template: {annotations: {training.resnet-operator.dev/job: "{}"}}`, `spec.template.annotations: Invalid value: keys of training.resnet-operator.dev/ and batch.kubernetes.io/ are set by the operator`},
	"root":                       {`template: {securityContext: {runAsUser: 0}}`, `spec.template.securityContext.runAsUser: Invalid value: 0: spec.template.securityContext.runAsUser in body should be greater than or equal to 1`},
	"our variable":               {`template: {env: [{name: RESNET_ATTEMPT, value: "7"}]}`, `spec.template.env: Invalid value: OMP_NUM_THREADS follows spec.resources.cpu, and RESNET_* is set by the operator`},
	"threads":                    {`template: {env: [{name: OMP_NUM_THREADS, value: "7"}]}`, `spec.template.env: Invalid value: OMP_NUM_THREADS follows spec.resources.cpu, and RESNET_* is set by the operator`},
	"a variable twice":           {`template: {env: [{name: A}, {name: A}]}`, `spec.template.env[1]: Duplicate value: {"name":"A"}`},
	"credentials twice":          {"storage: {s3: {credentialsSecret: {name: s}}}\ntemplate: {env: [{name: AWS_ACCESS_KEY_ID, value: x}]}", `spec.template.env: Invalid value: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN come from spec.storage.s3.credentialsSecret: name them in one place only`},
	"a volume of nothing":        {`template: {volumes: [{name: v}]}`, `spec.template.volumes[0]: Invalid value: must have exactly one of persistentVolumeClaim, ephemeral, emptyDir, image, configMap, secret, csi`},
	"a volume of two kinds":      {`template: {volumes: [{name: v, emptyDir: {}, configMap: {name: c}}]}`, `spec.template.volumes[0]: Invalid value: must have exactly one of persistentVolumeClaim, ephemeral, emptyDir, image, configMap, secret, csi`},
	"our volume":                 {`template: {volumes: [{name: resnet-job, emptyDir: {}}]}`, `spec.template.volumes[0].name: Invalid value: "resnet-job": must not begin with resnet-: these names are the operator's`},
	"a volume's name":            {`template: {volumes: [{name: V_1, emptyDir: {}}]}`, `spec.template.volumes[0].name: Invalid value: "V_1": must be lower-case letters, digits and '-'`},
	"no such volume":             {`template: {volumeMounts: [{name: v, mountPath: /data}]}`, `spec.template.volumeMounts: Invalid value: each must name one of spec.template.volumes`},
	"relative mount":             {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: data}]}`, `spec.template.volumeMounts[0].mountPath: Invalid value: "data": must be an absolute path such as /data, without . and .. and without a slash at the end`},
	"mount out of itself":        {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /data/../etc}]}`, `spec.template.volumeMounts[0].mountPath: Invalid value: "/data/../etc": must be an absolute path such as /data, without . and .. and without a slash at the end`},
	"mount over the job":         {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /etc/resnet-operator}]}`, `spec.template.volumeMounts[0].mountPath: Invalid value: "/etc/resnet-operator": must not hide /etc/resnet-operator, /scratch, /dev/termination-log or a folder of the system: choose another folder, such as /data`},
	"mount above the job":        {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /etc}]}`, `spec.template.volumeMounts[0].mountPath: Invalid value: "/etc": must not hide /etc/resnet-operator, /scratch, /dev/termination-log or a folder of the system: choose another folder, such as /data`},
	"mount over everything":      {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /}]}`, `spec.template.volumeMounts[0].mountPath: Invalid value: "/": must be an absolute path such as /data, without . and .. and without a slash at the end`},
	"mount over scratch":         {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /scratch/x}]}`, `spec.template.volumeMounts[0].mountPath: Invalid value: "/scratch/x": must not hide /etc/resnet-operator, /scratch, /dev/termination-log or a folder of the system: choose another folder, such as /data`},
	"mount over the system":      {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /usr/lib}]}`, `spec.template.volumeMounts[0].mountPath: Invalid value: "/usr/lib": must not hide /etc/resnet-operator, /scratch, /dev/termination-log or a folder of the system: choose another folder, such as /data`},
	"a part out of its volume":   {`template: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /data, subPath: ../x}]}`, `spec.template.volumeMounts[0].subPath: Invalid value: "../x": must be a relative path without ..`},
	"a priority of the system":   {`template: {priorityClassName: system-node-critical}`, `spec.template.priorityClassName: Invalid value: "system-node-critical": system-node-critical and system-cluster-critical are for what nodes and clusters cannot do without: choose another class`},
	"values without end":         {`template: {env: [{name: A, value: "` + strings.Repeat("x", 32000) + `"}, {name: B, value: "` + strings.Repeat("x", 32000) + `"}, {name: C, value: "` + strings.Repeat("x", 2000) + `"}]}`, `spec.template.env: Invalid value: values must have at most 65536 characters together: put large ones into a ConfigMap`},
	"a value without end":        {`template: {env: [{name: A, value: "` + strings.Repeat("x", 32769) + `"}]}`, `spec.template.env[0].value: Too long: may not be more than 32768 bytes`},
	"an image without end":       {`image: ` + strings.Repeat("x", 1025), `spec.image: Too long: may not be more than 1024 bytes`},
	"selectors without end":      {`template: {nodeSelector: {a: ` + strings.Repeat("x", 64) + `}}`, `spec.template.nodeSelector.a: Too long: may not be more than 63 bytes`},
	"keys without end":           {`template: {nodeSelector: {` + strings.Repeat("x", 318) + `: a}}`, `spec.template.nodeSelector: Invalid value: keys must have at most 317 characters`},
	"an empty volume of no size": {`template: {volumes: [{name: v, ephemeral: {size: "0"}}]}`, `spec.template.volumes[0].ephemeral.size: Invalid value: "0": must be more than 0`},
}

// createOver lays YAML over the spec of jobYAML and creates that; strictly, as kubectl does.
func createOver(t *testing.T, name, spec string) error {
	t.Helper()
	job := &unstructured.Unstructured{} // not our Go type, which cannot hold every mistake
	over := map[string]any{}
	if err := yaml.Unmarshal([]byte(jobYAML), &job.Object); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(spec), &over); err != nil {
		t.Fatal(err)
	}
	lay(over, job.Object["spec"].(map[string]any))
	job.SetName(name)
	job.SetNamespace("default")
	return client.WithFieldValidation(kube, metav1.FieldValidationStrict).Create(t.Context(), job)
}

// lay puts a document over another one; null removes.
func lay(over, under map[string]any) {
	for k, v := range over {
		o, isMap := v.(map[string]any)
		u, wasMap := under[k].(map[string]any)
		switch {
		case v == nil:
			delete(under, k)
		case isMap && wasMap:
			lay(o, u)
		default:
			under[k] = v
		}
	}
}

// say is what the API server says, without what it adds to everything.
func say(err error) string {
	const notChecked = ", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]"
	text := strings.TrimPrefix(err.Error(), `ResNetTrainingJob.training.resnet-operator.dev "net" is invalid: `)
	if cut, ok := strings.CutSuffix(text, notChecked); ok {
		return strings.TrimPrefix(cut, "[")
	}
	return text
}

func TestBadSpecsAreRefused(t *testing.T) {
	for name, c := range badSpecs {
		t.Run(name, func(t *testing.T) {
			err := createOver(t, "net", c.spec)
			if err == nil {
				t.Fatal("was accepted")
			}
			if got := say(err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	const want = `metadata.name must be at most 50 lower-case letters, digits and '-': the names of pods are made from it`
	for _, name := range []string{"net.v2", strings.Repeat("n", 51)} {
		if err := createOver(t, name, "{}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A field that nobody knows is a mistake, and not dropped in silence.
func TestUnknownFieldsAreRefused(t *testing.T) {
	for spec, want := range map[string]string{
		`training: {epoch: 3}`: `unknown field "spec.training.epoch"`,
		`template: {volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}]}`: `unknown field "spec.template.volumes[0].hostPath"`,
		`template: {command: [sh]}`:                       `unknown field "spec.template.command"`,
		`template: {securityContext: {privileged: true}}`: `unknown field "spec.template.securityContext.privileged"`,
		`template: {hostNetwork: true}`:                   `unknown field "spec.template.hostNetwork"`,
	} {
		if err := createOver(t, "net", spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", spec, err)
		}
	}
}
