"""Random masking as machine unlearning: the method, the metric, and the stages of the study."""
