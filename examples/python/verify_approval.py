"""Verifies that an artifact was approved: verify_approval.py ARTIFACT BUNDLE.approvals.dsse.json THRESHOLD KEY.pub...

Give one public key (PEM) of each organisation that you trust. Needs securesystemslib (requirements-approvals.txt) and nothing of fedgate.
"""

import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey


def read_key(path: str) -> SSlibKey:
    public_key = load_pem_public_key(Path(path).read_bytes())
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # fedgate's key ids: worked out from the key, never read from the bundle.
    return SSlibKey.from_crypto(public_key, keyid=hashlib.sha256(spki).hexdigest())


def main(artifact: str, bundle: str, threshold: str, *keys: str) -> None:
    envelope = Envelope.from_dict(json.loads(Path(bundle).read_text()))
    if envelope.payload_type != "application/vnd.in-toto+json":
        sys.exit("not an in-toto statement")
    accepted = envelope.verify([read_key(key) for key in keys], int(threshold))

    statement = json.loads(envelope.payload)
    if statement["predicateType"] != "https://fedgate.dev/approval/v1":
        sys.exit("not an approval")
    digest = hashlib.sha256(Path(artifact).read_bytes()).hexdigest()
    if [subject["digest"] for subject in statement["subject"]] != [{"sha256": digest}]:
        sys.exit("another artifact was approved")
    predicate = statement["predicate"]
    print(f"approved by {len(accepted)} keys: {predicate['project']} {predicate['version']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
