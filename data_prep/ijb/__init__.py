"""IJB-B and IJB-C from the field's usual files: photos of IJB templates, pairs of those, given landmarks.

An IJB template is a set of photos and video frames of one person that is compared as one. A `Template` of
this project is something else: the place of five landmarks in a crop. Whitelam et al. (2017), "IARPA Janus
Benchmark-B Face Dataset"; Maze et al. (2018), "IARPA Janus Benchmark - C: Face Dataset and Protocol".

The files are those of the release that InsightFace's evaluation reads (deepinsight/insightface,
recognition/_evaluation_/ijb): `IJBC/loose_crop/` with one picture per face, and in `IJBC/meta/`

- `ijbc_face_tid_mid.txt`: `NAME TEMPLATE MEDIUM` per line;
- `ijbc_template_pair_label.txt`: `TEMPLATE TEMPLATE LABEL` per line, 1 for the same person;
- `ijbc_name_5pts_score.txt`: `NAME`, x and y of left eye, right eye, nose, left and right mouth corner in
  pixels of the picture, and the detector's score.

Fields are separated by one space. IJB-B's names begin with `ijbb`.
"""

from data_prep.ijb.files import IjbFiles, find_ijb_files
from data_prep.ijb.landmarks import GivenLandmarks, read_landmarks
from data_prep.ijb.protocol import TemplatePairs, TemplateProtocol, load_template_protocol
from data_prep.ijb.searches import SearchProtocol, TemplateList, load_search_protocol
from data_prep.ijb.templates import TemplatePhotos

__all__ = [
    "GivenLandmarks",
    "IjbFiles",
    "SearchProtocol",
    "TemplateList",
    "TemplatePairs",
    "TemplatePhotos",
    "TemplateProtocol",
    "find_ijb_files",
    "load_search_protocol",
    "load_template_protocol",
    "read_landmarks",
]
