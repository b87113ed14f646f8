"""Architectures, freeze policies, and the transfer of weights with its report."""
