// Mints the tickets of the vectors, one a line, and one that is good now.
import { readFileSync } from 'node:fs';
import { mint } from '../mint.mjs';

const [vectors, key] = process.argv.slice(2);
for (const { key, claims } of JSON.parse(readFileSync(vectors, 'utf8')).tickets) console.log(mint(key, claims));
console.log(mint(key, { owner: 'ada', 'max-size': 10 }));
