"""Measurements that `make bench` runs; `make test` does not collect them."""
