"""Structures as data: arrays with shapes and units, read, checked, split and written."""
