package childjob

import (
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// UnmountedFolder says which file:// URI of a spec works on a laptop but not in the pod; "" if all do. The CRD cannot
// say so, because the same file is for both.
func UnmountedFolder(spec v1.ResNetTrainingJobSpec) string {
	uris := []struct {
		field, uri string
		written    bool
	}{
		{"spec.dataset.uri", spec.Dataset.URI, false},
		{"spec.storage.uri", spec.Storage.URI, true},
	}
	if from := spec.ResumeFrom; from != nil {
		uris = append(uris, struct {
			field, uri string
			written    bool
		}{"spec.resumeFrom.uri", from.URI, false})
	}
	for _, u := range uris {
		if folder, ok := strings.CutPrefix(u.uri, "file://"); ok {
			if why := whyNoFolder(folder, spec.Template, u.written); why != "" {
				return fmt.Sprintf("%s: %q is a folder, and %s", u.field, u.uri, why)
			}
		}
	}
	return ""
}

// whyNoFolder says why the pod cannot use a folder.
func whyNoFolder(folder string, t *v1.PodTemplate, written bool) string {
	mount, volume := mountOf(path.Clean(folder), t)
	switch {
	case mount == nil:
		return "the pod has none there: use s3://, or mount a volume at or above it " +
			"with spec.template.volumes and volumeMounts"
	case !written:
		return ""
	case volume.EmptyDir != nil || volume.Ephemeral != nil:
		return fmt.Sprintf("its volume %q goes with the pod: use a persistentVolumeClaim", volume.Name)
	case mount.ReadOnly || volume.Image != nil || volume.ConfigMap != nil || volume.Secret != nil ||
		volume.PersistentVolumeClaim != nil && volume.PersistentVolumeClaim.ReadOnly ||
		volume.CSI != nil && volume.CSI.ReadOnly != nil && *volume.CSI.ReadOnly:
		return fmt.Sprintf("its volume %q is read-only", volume.Name)
	}
	return ""
}

// mountOf returns the innermost mount at or above a folder, and its volume; nil if there is none.
func mountOf(folder string, t *v1.PodTemplate) (mount *v1.VolumeMount, volume v1.Volume) {
	if t == nil {
		return nil, volume
	}
	for i, m := range t.VolumeMounts {
		inside := folder == m.MountPath || strings.HasPrefix(folder, m.MountPath+"/")
		if inside && (mount == nil || len(m.MountPath) > len(mount.MountPath)) {
			mount = &t.VolumeMounts[i]
		}
	}
	if mount == nil {
		return nil, volume
	}
	i := slices.IndexFunc(t.Volumes, func(v v1.Volume) bool { return v.Name == mount.Name })
	if i < 0 {
		return nil, volume
	}
	return mount, t.Volumes[i]
}
