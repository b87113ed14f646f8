"""Use of trained models: prediction on images of any size, and export."""
