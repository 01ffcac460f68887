"""The names of what is known of a photo's quality. They import nothing: options are checked at once."""

from __future__ import annotations

FRONTAL = "frontal"  # made of two columns
MEASURES = {  # of a photo; a higher value is better
    "score": "the detector's score of the face",
    "eye_distance_px": "distance of the eyes in the photo, in pixels",
    FRONTAL: "cosine of the angle between the directions of face and camera",
    "sharpness": "variance of the Laplacian of the crop's middle",
}
POSE = ("yaw_deg", "pitch_deg", "roll_deg")
QUALITY_COLUMNS = ("eye_distance_px", *POSE, "sharpness")  # of a manifest, beside the detector's score
