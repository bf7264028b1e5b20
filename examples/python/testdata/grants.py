"""Uploads a file with a ticket that is minted for each opening."""
import asyncio, sys
sys.path[:0] = [".", "../tickets"]
import mint, wsingest

path, url, key, lanes = sys.argv[1:]
asked = 0

async def ticket(upload_id):
    global asked
    asked += 1
    return mint.mint(key, id=upload_id, owner="ada", max_size=20 << 20)

asyncio.run(wsingest.upload_file(path, url, wsingest.Options(ticket=ticket, lanes=int(lanes))))
print(asked)
