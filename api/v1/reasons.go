package v1

// Reasons of conditions and events.
const (
	// ReasonSuspended: spec.suspend is true and no pod is left.
	ReasonSuspended = "Suspended"
	// ReasonSuspending: spec.suspend is true and the pods are saving a checkpoint.
	ReasonSuspending = "Suspending"
	// ReasonResumed: spec.suspend is false again.
	ReasonResumed = "Resumed"

	// ReasonAttemptCreated: a child Job was created for the attempt; nothing holds it up so far.
	ReasonAttemptCreated = "AttemptCreated"
	// ReasonQueued: the child Job waits for quota from a queueing system.
	ReasonQueued = "Queued"
	// ReasonDeactivated: the child Job was taken out of its queue for good (spec.active of Kueue's Workload is false).
	ReasonDeactivated = "Deactivated"
	// ReasonUnschedulable: no node fits the pod.
	ReasonUnschedulable = "Unschedulable"
	// ReasonPartlyScheduled: some pods of a distributed job found a node, and others none; all of them were given back.
	ReasonPartlyScheduled = "PartlyScheduled"
	// ReasonImagePull: the trainer's image cannot be pulled.
	ReasonImagePull = "ImagePullFailed"
	// ReasonPodConfig: a Secret or key that the pod needs does not exist, or the container cannot be created.
	ReasonPodConfig = "PodConfigError"
	// ReasonPodRefused: the API server, a quota, a policy or a webhook refuses the pod or its Job.
	ReasonPodRefused = "PodRefused"
	// ReasonDeleteRefused: a Job has to go, and a policy or a webhook lets nobody delete it; it goes on.
	ReasonDeleteRefused = "DeleteRefused"
	// ReasonNameInUse: the Job of an earlier job of this name is still being deleted; the attempt begins once it is gone.
	ReasonNameInUse = "NameInUse"
	// ReasonStarting: the pod starts and reads the data.
	ReasonStarting = "Starting"
	// ReasonTraining: the pod trains.
	ReasonTraining = "Training"
	// ReasonDisrupted: the attempt was ended from outside; the next one begins at once.
	ReasonDisrupted = "Disrupted"
	// ReasonRetrying: the attempt failed; the next one begins after a wait.
	ReasonRetrying = "Retrying"

	// ReasonSpecChanged: the spec was edited while the attempt could not start; the next one begins at once.
	ReasonSpecChanged = "SpecChanged"
	// ReasonComputeChanged: the attempt resumes with another number of threads or on another device.
	ReasonComputeChanged = "ComputeChanged"

	// ReasonSucceeded: the model is saved.
	ReasonSucceeded = "Succeeded"

	// ReasonInvalidSpec: the spec asks for something that cannot be (exit code 64).
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonInvalidData: the data set cannot be read (exit code 65).
	ReasonInvalidData = "InvalidData"
	// ReasonStorageUnreachable: the bucket could not be reached (exit code 69).
	ReasonStorageUnreachable = "StorageUnreachable"
	// ReasonDiverged: loss or gradients are not finite (exit code 70).
	ReasonDiverged = "Diverged"
	// ReasonOutOfMemory: the container exceeded its memory limit.
	ReasonOutOfMemory = "OutOfMemory"
	// ReasonStartDeadline: the pod did not run within spec.startDeadlineSeconds.
	ReasonStartDeadline = "StartDeadlineExceeded"
	// ReasonActiveDeadline: the job took longer than spec.activeDeadlineSeconds.
	ReasonActiveDeadline = "ActiveDeadlineExceeded"
	// ReasonProgressDeadline: the pod made no step within spec.progressDeadlineSeconds.
	ReasonProgressDeadline = "ProgressDeadlineExceeded"
	// ReasonTrainerError: the trainer ended for another reason.
	ReasonTrainerError = "TrainerError"
	// ReasonFenced: a newer attempt owns the bucket (exit code 74).
	ReasonFenced = "Fenced"
)
