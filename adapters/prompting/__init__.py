"""Templates, demonstrations, label likelihoods, calibration and constrained decoding."""
