"""KubeRay 1.6's RayJob, as far as deploy/rayjob.yaml goes: required fields and types as its API reference lists them.

Kubernetes drops a field that the CRD does not know, without a word: so none but these may be there.
"""

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
QUANTITIES = {"type": "object", "additionalProperties": TEXT}
POD = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers"],
            "properties": {
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "image", "resources"],
                        "properties": {
                            "name": TEXT,
                            "image": TEXT,
                            "env": {"type": "array", "items": {"type": "object", "required": ["name"]}},
                            "envFrom": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["secretRef"],
                                    "properties": {
                                        "secretRef": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {"name": TEXT, "optional": {"type": "boolean"}},
                                            "additionalProperties": False,
                                        }
                                    },
                                    "additionalProperties": False,
                                },
                            },
                            "resources": {
                                "type": "object",
                                "properties": {"requests": QUANTITIES, "limits": QUANTITIES},
                            },
                        },
                        "additionalProperties": False,
                    },
                },
                "serviceAccountName": TEXT,
                "nodeSelector": {"type": "object", "additionalProperties": TEXT},
                "tolerations": {"type": "array"},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
PARAMETERS = {"type": "object", "additionalProperties": TEXT}
KUBERAY = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["rayClusterSpec", "entrypoint"],
            "properties": {
                "entrypoint": TEXT,
                "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
                "shutdownAfterJobFinishes": {"type": "boolean"},
                "ttlSecondsAfterFinished": WHOLE,
                "backoffLimit": WHOLE,
                "rayClusterSpec": {
                    "type": "object",
                    "required": ["headGroupSpec", "rayVersion"],  # the version: authOptions wants 2.52 or newer
                    "properties": {
                        "rayVersion": TEXT,
                        "authOptions": {
                            "type": "object",
                            "properties": {"mode": {"enum": ["disabled", "token"]}},
                            "additionalProperties": False,
                        },
                        "enableInTreeAutoscaling": {"type": "boolean"},
                        "autoscalerOptions": {
                            "type": "object",
                            "properties": {"idleTimeoutSeconds": WHOLE},
                            "additionalProperties": False,
                        },
                        "headGroupSpec": {
                            "type": "object",
                            "required": ["template", "rayStartParams"],
                            "properties": {
                                "serviceType": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
                                "rayStartParams": PARAMETERS,
                                "template": POD,
                            },
                            "additionalProperties": False,
                        },
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                                "properties": {
                                    "groupName": TEXT,
                                    "replicas": WHOLE,
                                    "minReplicas": WHOLE,
                                    "maxReplicas": WHOLE,
                                    "rayStartParams": PARAMETERS,
                                    "template": POD,
                                },
                                "additionalProperties": False,
                            },
                        },
                    },
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
