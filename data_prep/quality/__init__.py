"""How good a photo is for recognition: what its landmarks, its detection and its crop say."""
