import type { Readable } from 'node:stream';
import type { Actor, Storage } from '#features/storage/index.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import type { Payload } from './payload.ts';
import type { S3Request } from './request.ts';
import { toXml, type XmlContent, type XmlNode } from './xml.ts';

/** What is the same for all requests. */
export interface Gateway {
  storage: Storage;
  /** Makes continuation tokens that only this server can have made. */
  cipher: Cipher;
  /** The region that clients sign for. */
  region: string;
}

/** One request whose signature was verified. */
export interface S3Context extends Gateway {
  request: S3Request;
  /** The URL that the client reached this server under. */
  origin: string;
  payload: Payload;
  actor: Actor;
}

export interface S3Reply {
  /** 200 unless said otherwise. */
  status?: number;
  headers?: Readonly<Record<string, string | undefined>>;
  body?: string | Buffer | Readable;
}

/** Everything belongs to the one owner of this server. */
export const OWNER: readonly XmlNode[] = [
  ['ID', 'insforge'],
  ['DisplayName', 'insforge'],
];

/** An answer that is an XML document. */
export function xmlReply(root: string, content: XmlContent, headers: S3Reply['headers'] = {}): S3Reply {
  return { headers: { 'content-type': 'application/xml', ...headers }, body: toXml(root, content) };
}

/** The ETag of an object as HTTP wants it. */
export const quoteEtag = (etag: string | null) => (etag === null ? undefined : `"${etag}"`);
