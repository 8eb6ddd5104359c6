{{/* The names of all objects of a part: csi-dm.name "controller". */}}
{{- define "csi-dm.name" -}}
{{- printf "%s-%s" .Release.Name .part | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select a part's pods. The controller finds the nodes' agents by them, too. */}}
{{- define "csi-dm.selector" -}}
app.kubernetes.io/name: csi-dm
app.kubernetes.io/instance: {{ .Release.Name }}
{{- with .part }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "csi-dm.labels" -}}
{{ include "csi-dm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A digest goes before a tag. */}}
{{- define "csi-dm.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What a container that needs nothing gets. */}}
{{- define "csi-dm.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Whether csi-snapshotter runs: "true" or nothing. */}}
{{- define "csi-dm.snapshots" -}}
{{- $run := .Values.sidecars.snapshotter.run -}}
{{- if or (eq $run "always") (and (eq $run "auto") (.Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1")) -}}
true
{{- end -}}
{{- end -}}
