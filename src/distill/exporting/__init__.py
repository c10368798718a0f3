"""Students for other programs: what they read, what they run, and the certificate that both agree with ours."""
