/**
 * What the server answered, as Uppy has it.
 *
 * @module
 */

import { UploadError, endpoint } from 'wsingest';

const MOST_WORDS = 300; // characters; the Dashboard shows them in a bubble

/**
 * `body` is what the app said: an object if it was JSON, else `{ text }`. `uploadURL`
 * is where the file is. `wsingest` is the whole result: `digest` among others.
 *
 * @typedef {{ status: number, body: any, uploadURL?: string, wsingest?: import('wsingest').Result }} Answer
 */

export const answerOf = {
  /**
   * @param {import('wsingest').Result} result
   * @param {string | URL} url of the upload route
   * @param {string | URL} [link] where published files are shown
   * @returns {Answer}
   */
  success(result, url, link) {
    const { location, response } = result;
    const base = endpoint(url).replace(/^ws/, 'http');
    /** @type {Record<string, unknown>} */
    const body = response ? bodyOf(response) : { location };
    const said = header(response, 'location') ?? (typeof body.url === 'string' ? body.url : undefined);
    return { status: response?.status ?? 200, body, uploadURL: location === undefined ? absolute(said, base) : shown(location, base, link), wsingest: result };
  },

  /** @param {Error} error @returns {Answer | undefined} */
  error(error) {
    const response = error instanceof UploadError ? error.response : undefined;
    return response && { status: response.status, body: bodyOf(response) };
  },
};

/** @typedef {import('wsingest').Response} Response */

/**
 * The app's own words of why it refused a file, if it said any that are meant for
 * a person: plain text, or a problem document (RFC 9457) and its relatives.
 *
 * @param {Error} error
 * @returns {string | undefined}
 */
export function wordsOf(error) {
  const response = error instanceof UploadError ? error.response : undefined;
  if (!response) return undefined;
  const { detail, message, error: reason, text } = bodyOf(response);
  const plain = /^text\/plain\b/i.test(header(response, 'content-type') ?? '') ? text : undefined;
  const words = [detail, message, reason, plain].find((w) => typeof w === 'string' && w.trim() !== '');
  return typeof words === 'string' ? words.trim().slice(0, MOST_WORDS) : undefined;
}

/** @param {Response} response @returns {Record<string, unknown>} */
function bodyOf(response) {
  const { body: text = '' } = response;
  if (/^application\/(.+\+)?json\b/i.test(header(response, 'content-type') ?? '')) {
    try {
      const value = JSON.parse(text);
      if (value && typeof value === 'object' && !Array.isArray(value)) return value;
    } catch {
      // it is longer than what the server passes on, or no JSON after all
    }
  }
  return { text };
}

/** @param {Response | undefined} response @param {string} name in lower case */
function header(response, name) {
  for (const [key, values] of Object.entries(response?.headers ?? {})) {
    if (key.toLowerCase() === name) return values[0];
  }
  return undefined;
}

/** @param {string} location name of a published file, perhaps behind folders @param {string} base @param {string | URL} [link] */
function shown(location, base, link) {
  if (link === undefined) return undefined;
  const folder = absolute(String(link), globalThis.location?.href ?? base);
  return folder && folder.replace(/\/?$/, '/') + location.split('/').map(encodeURIComponent).join('/');
}

/** @param {string | undefined} address @param {string} base */
function absolute(address, base) {
  if (address === undefined) return undefined;
  try {
    return new URL(address, base).href;
  } catch {
    return undefined;
  }
}
