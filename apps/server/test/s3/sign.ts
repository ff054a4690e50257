import { createHash, createHmac } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { crc32 } from 'node:zlib';
import { REGION } from './start.ts';

/*
 * A signer of its own, written from the specification and not with the code under test, which lets a test change
 * a request before and after it is signed.
 */

/** How the payload is sent, and what of it is signed. */
export const MODES = ['signed', 'unsigned', 'chunks', 'chunks-trailer', 'unsigned-trailer', 'presigned'] as const;
export type Mode = (typeof MODES)[number];

export const PAYLOADS: Record<Exclude<Mode, 'signed'>, string> = {
  unsigned: 'UNSIGNED-PAYLOAD',
  chunks: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'chunks-trailer': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'unsigned-trailer': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  presigned: 'UNSIGNED-PAYLOAD',
};

export interface Draft {
  method: string;
  /** Percent-encoded, with the path of the endpoint. */
  path: string;
  query: [string, string][];
  headers: [string, string][];
  body: Buffer;
}

export interface Signer {
  accessKeyId: string;
  secretAccessKey: string;
  mode: Mode;
  region?: string;
  now?: Date;
  expires?: number;
  /** Names to sign; every header of the draft if absent. */
  signedHeaders?: string[];
  /** Where to cut the body into chunks. */
  chunkSize?: number;
  /** What stands for the payload where the mode says something else. */
  payload?: string;
  /** What is put in place of the checksum of the trailer. */
  checksum?: string;
  /** Which one that is; CRC32 if absent. */
  algorithm?: string;
}

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const isChunked = (mode: Mode) => mode === 'chunks' || mode === 'chunks-trailer' || mode === 'unsigned-trailer';

/** Signs a draft and returns the request as it goes over the wire. */
export function sign(draft: Draft, signer: Signer): Draft {
  const { mode, region = REGION, now = new Date(), chunkSize = 8192, algorithm = 'CRC32' } = signer;
  const timestamp = now.toISOString().replace(/[-:]|\.\d+/g, '');
  const scope = `${timestamp.slice(0, 8)}/${region}/s3/aws4_request`;
  const key = hmac(
    hmac(hmac(hmac(`AWS4${signer.secretAccessKey}`, timestamp.slice(0, 8)), region), 's3'),
    'aws4_request',
  );
  const payload = signer.payload ?? (mode === 'signed' ? sha256(draft.body) : PAYLOADS[mode]);
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(draft.body));
  const checksum = signer.checksum ?? crc.toString('base64');
  const trailer = `x-amz-checksum-${algorithm.toLowerCase()}`;

  const headers = [...draft.headers];
  if (mode !== 'presigned') headers.push(['x-amz-date', timestamp], ['x-amz-content-sha256', payload]);
  if (isChunked(mode)) {
    headers.push(['content-encoding', 'aws-chunked'], ['x-amz-decoded-content-length', String(draft.body.length)]);
  }
  if (mode.endsWith('-trailer')) headers.push(['x-amz-trailer', trailer]);
  const names = signer.signedHeaders ?? [...new Set(headers.map(([name]) => name.toLowerCase()))].sort();
  const query = [...draft.query];
  if (mode === 'presigned') {
    query.push(
      ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
      ['X-Amz-Credential', `${signer.accessKeyId}/${scope}`],
      ['X-Amz-Date', timestamp],
      ['X-Amz-Expires', String(signer.expires ?? 300)],
      ['X-Amz-SignedHeaders', names.join(';')],
    );
  }

  const canonicalQuery = query.map(([name, value]) => `${encode(name)}=${encode(value)}`).sort();
  const canonicalHeaders = names.map((name) => {
    const values = headers
      .filter(([other]) => other.toLowerCase() === name)
      .map(([, value]) => value.trim().replace(/ +/g, ' '));
    return `${name}:${values.join(',')}\n`;
  });
  const canonical = [
    draft.method,
    draft.path,
    canonicalQuery.join('&'),
    canonicalHeaders.join(''),
    names.join(';'),
    payload,
  ];
  const toSign = ['AWS4-HMAC-SHA256', timestamp, scope, sha256(canonical.join('\n'))].join('\n');
  const signature = hmac(key, toSign).toString('hex');
  if (mode === 'presigned') query.push(['X-Amz-Signature', signature]);
  else {
    const credential = `Credential=${signer.accessKeyId}/${scope}`;
    const value = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
    headers.push(['authorization', value]);
  }
  const body = isChunked(mode) ? chunked(draft.body) : draft.body;
  return { ...draft, query, headers, body };

  function chunked(data: Buffer): Buffer {
    let previous = signature;
    const chain = (kind: string, ...hashes: string[]) => {
      previous = hmac(key, [`AWS4-HMAC-SHA256-${kind}`, timestamp, scope, previous, ...hashes].join('\n')).toString(
        'hex',
      );
      return previous;
    };
    const pieces: Buffer[] = [];
    for (let start = 0; start < data.length; start += chunkSize) pieces.push(data.subarray(start, start + chunkSize));
    const hasTrailer = mode !== 'chunks';
    const parts = [...pieces, Buffer.alloc(0)].flatMap((piece) => {
      const extension =
        mode === 'unsigned-trailer' ? '' : `;chunk-signature=${chain('PAYLOAD', sha256(''), sha256(piece))}`;
      const head = Buffer.from(`${piece.length.toString(16)}${extension}\r\n`);
      return piece.length === 0 ? [head] : [head, piece, Buffer.from('\r\n')];
    });
    if (hasTrailer) {
      const line = `${trailer}:${checksum}`;
      parts.push(Buffer.from(`${line}\r\n`));
      if (mode === 'chunks-trailer')
        parts.push(Buffer.from(`x-amz-trailer-signature:${chain('TRAILER', sha256(`${line}\n`))}\r\n`));
    }
    return Buffer.concat([...parts, Buffer.from('\r\n')]);
  }
}

export interface Answer {
  status: number;
  /** The code of an error; empty where there is none. */
  code: string;
  text: string;
  headers: Record<string, string | string[] | undefined>;
}

/** Sends a request exactly as it is: headers may be doubled, and the path is not normalised. */
export function send(origin: string, { method, path, query, headers, body }: Draft): Promise<Answer> {
  const { hostname, port } = new URL(origin);
  const search = query.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  const hasLength = headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
  const needsLength = !hasLength && (body.length > 0 || method === 'PUT' || method === 'POST');
  const raw = [...headers, ...(needsLength ? [['content-length', String(body.length)]] : [])].flat();
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      hostname,
      port,
      method,
      path: search ? `${path}?${search}` : path,
      headers: raw as never,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const [, code = ''] = /<Code>(\w+)<\/Code>/.exec(text) ?? [];
        resolve({ status: response.statusCode ?? 0, code, text, headers: response.headers });
      });
    });
    request.end(body);
  });
}
