import { createHmac } from 'node:crypto';

/** Signs a ticket: claims as in the README. Good for an hour. */
export function mint(key, { expires = Math.floor(Date.now() / 1000) + 3600, ...claims }) {
  const text = JSON.stringify({ expires, ...claims });
  const signed = `wst1.${Buffer.from(text).toString('base64url')}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}
