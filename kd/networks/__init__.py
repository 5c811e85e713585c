"""The U-Net, its imported or inherited weights, and its export to ONNX."""
