"""`faceverif export`: a model as an ONNX file or a torch.export program, checked and with a card."""
