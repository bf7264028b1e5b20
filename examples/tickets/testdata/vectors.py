"""Mints the tickets of the vectors, one a line, and one that is good now."""
import json, sys
sys.path.insert(0, ".")
from mint import mint

sys.stdout.reconfigure(encoding="utf-8")
with open(sys.argv[1], encoding="utf-8") as file:
    for vector in json.load(file)["tickets"]:
        print(mint(vector["key"], **{k.replace("-", "_"): v for k, v in vector["claims"].items()}))
print(mint(sys.argv[2], owner="ada", max_size=10))
