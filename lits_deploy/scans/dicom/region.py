"""Which region of the body a header says: another one than the trunk, or nothing that would keep a slice out.

A network that was trained on abdomens answers a head, too, and ranks it first. So a slice is excluded where the header
names a region of the lists below and nothing of the trunk. Whole words are compared, in capitals and without accents;
any word or code of the trunk wins, since a study of head and abdomen says both in all its series. Headers are often
wrong or silent: silence excludes nothing, and `--any-body-part` overrides.

Looked at: Body Part Examined, the anatomic region and procedure codes (value and meaning), the descriptions of study
and series, and the protocol's name. Of all these only a word of REGIONS ever leaves the header.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from pydicom.dataset import Dataset

from lits_deploy.scans.dicom.header import items, raw

REGIONS: dict[str, str] = {
    "head": "HEAD SKULL BRAIN CRANIUM CRANIAL CEREBRAL CEREBRUM INTRACRANIAL KOPF SCHADEL SCHAEDEL HIRN GEHIRN"
    " CCT TETE CRANE CERVEAU CABEZA CRANEO CEREBRO TESTA CRANIO CERVELLO ENCEFALO HOOFD SCHEDEL HERSENEN",
    "face": "FACE FACIAL SINUS SINUSES PARANASAL ORBIT ORBITS ORBITA ORBITAL MANDIBLE MAXILLA MAXILLOFACIAL JAW TMJ"
    " DENTAL NNH GESICHT KIEFER MITTELGESICHT UNTERKIEFER OBERKIEFER",
    "ear": "EAR IAC MASTOID TEMPORALBONE PETROUS FELSENBEIN",
    "neck": "NECK CERVICAL CSPINE LARYNX PHARYNX THYROID CAROTID HALS HWS COU NUQUE CUELLO COLLO NEK HEADNECK",
    "shoulder": "SHOULDER CLAVICLE SCAPULA SCHULTER EPAULE HOMBRO SPALLA",
    "arm": "ARM UPPERARM HUMERUS ELBOW FOREARM ULNA OBERARM UNTERARM ELLENBOGEN BRAS COUDE CODO GOMITO",
    "hand": "HAND WRIST FINGER THUMB CARPAL HANDGELENK POIGNET MANO MUNECA POLSO",
    "leg": "LEG THIGH FEMUR TIBIA FIBULA CALF UPPERLEG LOWERLEG OBERSCHENKEL UNTERSCHENKEL BEIN JAMBE CUISSE PIERNA",
    "knee": "KNEE PATELLA KNIE GENOU RODILLA GINOCCHIO",
    "foot": "FOOT ANKLE CALCANEUS TOE TALUS FUSS SPRUNGGELENK PIED CHEVILLE TOBILLO CAVIGLIA",
    "extremity": "EXTREMITY EXTREMITIES EXTREMITAT EXTREMITATEN LIMB",
}
"""Region, as reasons name it → its words: defined terms of Body Part Examined (PS3.16, Annex L) and common speech."""

TRUNK = frozenset(
    "ABDOMEN ABDOMINAL ABD LIVER HEPATIC HEPATO TRUNK TORSO BODY WHOLEBODY WB CAP TAP CTAP ABDOMENPELVIS ABDPELVIS"  # noqa: SIM905
    " CHESTABDOMEN CHESTABDPELVIS NECKCHESTABDOMEN NECKCHESTABDPELV CHEST THORAX THORACIC THORACOABDOMINAL LUNG"
    " PULMONARY HEART CARDIAC CORONARY BREAST PELVIS PELVIC HIP SPINE TSPINE LSPINE TLSPINE LSSPINE LUMBAR KIDNEY RENAL"
    " PANCREAS SPLEEN BILIARY GALLBLADDER STOMACH COLON BOWEL UROGRAPHY AORTA POLYTRAUMA LEBER OBERBAUCH BAUCH"
    " UNTERBAUCH RUMPF STAMM GANZKORPER GANZKOERPER POLYTRAUMASPIRALE BECKEN NIERE NIEREN MILZ FOIE VENTRE ABDOMINO"
    " THORACO TRONC BASSIN HIGADO VIENTRE TRONCO TORAX PELVICO FEGATO ADDOME ADDOMINALE TORACE BACINO LEVER BUIK ROMP"
    " CORPS CUERPO CORPO".split()
)
"""Words of the trunk, and of scans that reach from head to thigh: none of them is ever excluded for its region."""

_CODES = {
    "head": "69536005 T-D1100 12738006 T-A0100 89546000 T-11100 1101003 T-D1400 113305005 T-A6000 11279006 T-45520",
    "face": "89545001 T-D1200 2095001 T-22000 363654007 T-D14AE 91609006 T-11180 70925003 T-11170 661005 T-D1213"
    " 53620006 T-15290 91397008 T-11196 81745001 T-AA000 371398005 T-D0801",
    "ear": "117590005 T-AB001 361078006 T-AB959 59066005 T-11133",
    "neck": "45048000 T-D1600 774007 T-D1000 122494005 T-11501 69105007 T-45010 4596009 T-24100 54066008 T-55000"
    " 69748006 T-B6000",
    "shoulder": "16982005 T-D2220 51299004 T-12310 79601000 T-12280 85856004 T-15420",
    "arm": "40983000 T-D8200 14975008 T-D8500 16953009 T-15430 85050009 T-12410",
    "hand": "85562004 T-D8700 74670003 T-15460 7569003 T-D8800 76505004 T-D8810",
    "leg": "68367000 T-D9100 30021000 T-D9400 71341001 T-12710 87342007 T-12750",
    "knee": "72696002 T-D9200 64234005 T-12730",
    "foot": "56459004 T-D9700 70258002 T-15750 80144004 T-12770 29707007 T-D9800",
    "extremity": "66019005 T-D0300 53120007 T-D8000 61685007 T-D9000",
}
"""SNOMED CT codes and their SNOMED RT forms (PS3.16, CID 4 and Annex L)."""

_OTHER_WORDS = {word: region for region, words in REGIONS.items() for word in words.split()}
_OTHER_CODES = {code: region for region, codes in _CODES.items() for code in codes.split()}
_TRUNK_CODES = frozenset(
    "818981001 113345001 T-D4000 818982008 416949008 R-FAB57 416775004 R-FAB56 416550000 R-FAB55 416152001 R-FAB53"  # noqa: SIM905
    " 416319003 R-FAB54 816094009 51185008 T-D3000 816092008 12921003 T-D6000 10200004 T-62000 22943007 T-D2000"
    " 38266002 T-D0010 417437006 R-FAB52 303270005 T-50007 421060004 T-D04FF".split()
)
_SCHEMES = {"SCT", "SRT", "SNM3", "99SDM"}

_UPPER, _LOWER = {"head", "face", "ear", "neck"}, {"leg", "knee", "foot"}
"""A scan that is said to reach from one of these to one of those (skull base to thigh) has the trunk between them."""

_CERVICAL = re.compile(r"\b(?:C|CERVICAL)[ _-]*SPINE\b")

_POSTURE = re.compile(r"\b(?:HEAD|FOOT|FEET|ARMS?|HANDS?|LEGS?)[ _-]*(?:FIRST|IN|OUT|UP|DOWN|OBEN|UNTEN|HOCH)\b")
"""How a patient lies in the scanner; says nothing of what was scanned."""


def other_region(dataset: Dataset, groups: Iterable[Dataset] = ()) -> str | None:
    """The region of REGIONS that a header names if it names none of the trunk, else None.

    groups: the functional groups of a frame of enhanced CT.
    """
    found = list(_named(dataset, groups))
    if not found or None in found or (_UPPER.intersection(found) and _LOWER.intersection(found)):
        return None
    return found[0]


def _named(dataset: Dataset, groups: Iterable[Dataset]) -> Iterator[str | None]:
    """Every region that the header names: one of REGIONS, None for the trunk; the most specific elements first."""
    coded = items(dataset, "AnatomicRegionSequence")
    for group in groups:
        for anatomy in items(group, "FrameAnatomySequence"):
            coded += items(anatomy, "AnatomicRegionSequence")
    coded += items(dataset, "ProcedureCodeSequence")
    yield from _of_words(_plain(dataset, "BodyPartExamined"))
    for code in coded:
        if _plain(code, "CodingSchemeDesignator") in _SCHEMES:
            value = _plain(code, "CodeValue")
            if value in _TRUNK_CODES:
                yield None
            elif value in _OTHER_CODES:
                yield _OTHER_CODES[value]
        yield from _of_words(_plain(code, "CodeMeaning"))
    for keyword in ("SeriesDescription", "ProtocolName", "StudyDescription"):
        yield from _of_words(_plain(dataset, keyword))


def _of_words(text: str) -> Iterator[str | None]:
    for word in re.findall(r"[A-Z]+", _CERVICAL.sub("CSPINE", _POSTURE.sub(" ", text))):
        if word in TRUNK:
            yield None
        elif word in _OTHER_WORDS:
            yield _OTHER_WORDS[word]


def _plain(dataset: Dataset, keyword: str) -> str:
    """A text in capitals without accents, whichever character set it is in; ß is SS."""
    value = raw(dataset, keyword)[0].strip(b"\0 ")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss").upper())
    return "".join(character for character in decomposed if not unicodedata.combining(character)).strip()
