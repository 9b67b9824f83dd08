"""Model families: LSTM, Transformer, linear, and how networks are joined."""
