"""Where metrics go: MLflow, JSON lines, or nowhere."""
