"""Architectures, freeze policies, published weights, and the transfer of weights with its report."""
