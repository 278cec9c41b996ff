"""What the lessons train and measure, for repeated runs; the lessons show each training loop once."""
