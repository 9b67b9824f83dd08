"""What the error of predicted curves is made of."""
