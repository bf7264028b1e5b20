// How a program in TypeScript uses the plugin; it is compiled, not run.
import Uppy from '@uppy/core';
import WsIngest, { type WsIngestOptions } from '../index.js';

type Meta = { album: string };
type Answer = { url: string };

const options: WsIngestOptions<Meta, Answer> = {
  url: (file) => `/upload/${file.meta.album}/`,
  ticket: async (file) => file.id,
  limit: 3,
  allowedMetaFields: ['album'],
  locale: { strings: { remoteRefused: 'No.' } },
};

export const uppy = new Uppy<Meta, Answer>().use(WsIngest<Meta, Answer>, options);
export const plain = new Uppy().use(WsIngest, { url: '/upload/', lanes: 4, wantDigest: 'sha-256' });

// @ts-expect-error there is no upload without an address
new Uppy().use(WsIngest, {});
// @ts-expect-error
new Uppy().use(WsIngest, { url: '/', wantDigest: 'md5' });
