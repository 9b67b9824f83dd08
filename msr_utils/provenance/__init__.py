"""What a result depends on: code, inputs, packages, machine; and how results are checked."""
