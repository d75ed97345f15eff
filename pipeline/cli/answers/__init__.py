"""What commands that run nothing answer, as text or as one JSON object; loads no torch, ray, transformers or mlflow."""
