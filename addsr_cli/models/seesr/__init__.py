"""SeeSR's networks, which AddSR, SeeSR and SeeSR-Turbo run on."""
