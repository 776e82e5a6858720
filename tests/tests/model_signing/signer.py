"""Signs or verifies a folder with OpenSSF's own package, by its programming interface where its command line has no
option for it: shards, and paths that are ignored.

What is asked for comes as JSON in the first argument. The exit code is 0 if it was done, 1 if it was refused.
"""

import json
import sys

import model_signing

asked = json.loads(sys.argv[1])
hashing = model_signing.hashing.Config()
if asked.get("shard_size"):
    hashing.use_shard_serialization(shard_size=asked["shard_size"])
hashing.set_ignored_paths(paths=asked.get("ignored", []), ignore_git_paths=asked.get("ignore_git", False))
try:
    if "private_key" in asked:
        signing = model_signing.signing.Config().use_elliptic_key_signer(private_key=asked["private_key"])
        signing.set_hashing_config(hashing).sign(asked["folder"], asked["signature"])
    else:
        verifying = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=asked["public_key"])
        verifying.set_hashing_config(hashing).verify(asked["folder"], asked["signature"])
except Exception as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(1)
