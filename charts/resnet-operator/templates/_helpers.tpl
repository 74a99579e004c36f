{{/* Put an object of config/ into the namespace of the release: object, root. */}}
{{- define "resnet-operator.place" -}}
{{- $namespace := .root.Release.Namespace }}
{{- $policy := "ValidatingAdmissionPolicy" }}
{{- if not (has .object.kind (list "ClusterRole" "ClusterRoleBinding" $policy (print $policy "Binding"))) }}
{{- $_ := set .object.metadata "namespace" $namespace }}
{{- end }}
{{- range .object.subjects }}
{{- if not .namespace }}{{ $_ := set . "namespace" $namespace }}{{ end }}
{{- end }}
{{- end }}

{{/* An image: a list of the root, and repository and tag. */}}
{{- define "resnet-operator.image" -}}
{{- $image := index . 1 -}}
{{ $image.repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end }}
