"""The U-Net, its weights from elsewhere, and its export to ONNX."""
