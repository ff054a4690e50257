import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { scratchFolder } from '../start/process.ts';
import { type Draft, MODES, type Mode, type Signer, send, sign } from './sign.ts';
import { startS3, type TestS3 } from './start.ts';
import { draftOf as draftFor, prepare, VERBS } from './verbs.ts';

let s3: TestS3;
let origin: string;
let dataDir: string;
let uploadId: string;
let before: unknown;

const draftOf = (name: string) => draftFor(s3.endpoint, uploadId, name);

/** All that could have been changed: every row of storage, and the names of all files of the blob store. */
async function snapshot(): Promise<unknown> {
  const tables = ['buckets', 'objects', 'object_tags', 'uploads', 'upload_parts', 's3_uploads'];
  const rows = tables.map((table) => `(select coalesce(jsonb_agg(t order by t::text), '[]') from storage.${table} t)`);
  const [{ state } = { state: undefined }] = await s3.sql<{ state: unknown }>(
    `select jsonb_build_array(${rows}) as state`,
  );
  const files = await readdir(join(dataDir, 'storage'), { recursive: true, withFileTypes: true });
  return {
    state,
    files: files
      .filter((file) => file.isFile())
      .map((file) => file.name)
      .sort(),
  };
}

beforeEach(async () => {
  dataDir = await scratchFolder();
  s3 = await startS3({ DATA_DIR: dataDir });
  origin = new URL(s3.endpoint).origin;
  uploadId = await prepare(s3);
  before = await snapshot();
});

afterEach(async () => {
  expect(await snapshot()).toEqual(before);
});

const signer = (mode: Mode, more: Partial<Signer> = {}): Signer => ({ ...s3.key, mode, ...more });

test.each(MODES)(
  'no operation lets a wrong secret or an unknown key in, nor a request without a signature (%s)',
  async (mode) => {
    for (const { name } of VERBS) {
      const draft = draftOf(name);
      const wrong = await send(
        origin,
        sign(draft, signer(mode, { secretAccessKey: 'x7K2-a_pL9qRs4N8vYzWcE1fH5gJ3mUtBoD6ViXk' })),
      );
      expect([wrong.status, wrong.code], name).toEqual([403, draft.method === 'HEAD' ? '' : 'SignatureDoesNotMatch']);
      const unknown = await send(origin, sign(draft, signer(mode, { accessKeyId: 'INSFAAAABBBBCCCCDDDD' })));
      expect([unknown.status, unknown.code], name).toEqual([403, draft.method === 'HEAD' ? '' : 'InvalidAccessKeyId']);
      const signed = sign(draft, signer(mode));
      const naked = {
        ...signed,
        headers: signed.headers.filter(([header]) => header !== 'authorization'),
        query: signed.query.filter(([parameter]) => !parameter.startsWith('X-Amz-')),
      };
      const unsigned = await send(origin, naked);
      expect([unsigned.status, unsigned.code], name).toEqual([403, draft.method === 'HEAD' ? '' : 'AccessDenied']);
    }
  },
);

/** What somebody on the way could do to a signed request. */
const TAMPERINGS: { what: string; modes?: readonly Mode[]; change: (draft: Draft) => Draft; codes: string[] }[] = [
  {
    what: 'another path',
    change: (draft) => ({ ...draft, path: draft.path.replace(/[^/]*$/, 'other') }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'another bucket',
    change: (draft) => ({ ...draft, path: draft.path.replace('/files', '/empty') }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'a path that is encoded twice',
    change: (draft) => ({ ...draft, path: draft.path.replace(/[^/]$/, (c) => `%25${c.charCodeAt(0).toString(16)}`) }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'a path that is encoded otherwise',
    change: (draft) => ({ ...draft, path: draft.path.replace(/[^/]$/, (c) => `%${c.charCodeAt(0).toString(16)}`) }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'a dot segment',
    change: (draft) => ({ ...draft, path: draft.path.replace('/files', '/files/../files') }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'another method',
    change: (draft) => ({ ...draft, method: draft.method === 'PUT' ? 'POST' : 'PUT' }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'one more parameter',
    change: (draft) => ({ ...draft, query: [...draft.query, ['partNumber', '9']] }),
    codes: ['SignatureDoesNotMatch', 'InvalidArgument'],
  },
  {
    what: 'a parameter twice',
    change: (draft) => ({ ...draft, query: [...draft.query, ...draft.query, ['x', '1'], ['x', '2']] }),
    codes: ['InvalidArgument'],
  },
  { what: 'another host', change: (draft) => change(draft, 'host', 'example.com'), codes: ['SignatureDoesNotMatch'] },
  {
    what: 'another signed header',
    change: (draft) => change(draft, 'x-amz-meta-a', 'tampered'),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'no signed header',
    change: (draft) => ({ ...draft, headers: draft.headers.filter(([name]) => name !== 'x-amz-meta-a') }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'a signed header twice',
    change: (draft) => ({ ...draft, headers: [...draft.headers, ['x-amz-meta-a', 'second']] }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'signed values in another order',
    change: (draft) => ({ ...draft, headers: draft.headers.toReversed() }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'an unsigned x-amz- header',
    change: (draft) => ({ ...draft, headers: [...draft.headers, ['x-amz-meta-b', 'smuggled']] }),
    codes: ['AccessDenied'],
  },
  {
    what: 'an unsigned copy source',
    change: (draft) => ({ ...draft, headers: [...draft.headers, ['x-amz-copy-source', '/files/a.txt']] }),
    codes: ['AccessDenied', 'InvalidArgument'],
  },
  {
    what: 'another payload hash',
    modes: ['signed', 'chunks', 'chunks-trailer', 'unsigned-trailer'],
    change: (draft) => change(draft, 'x-amz-content-sha256', 'UNSIGNED-PAYLOAD'),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'an authorization twice',
    modes: MODES.filter((mode) => mode !== 'presigned'),
    change: (draft) => ({
      ...draft,
      headers: [...draft.headers, ...draft.headers.filter(([name]) => name === 'authorization')],
    }),
    codes: ['InvalidArgument'],
  },
  {
    what: 'a date twice',
    modes: MODES.filter((mode) => mode !== 'presigned'),
    change: (draft) => ({ ...draft, headers: [...draft.headers, ['x-amz-date', '20200101T000000Z']] }),
    codes: ['InvalidArgument'],
  },
  {
    what: 'half a signature',
    change: (draft) => resign(draft, (signature) => signature.slice(32)),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'its signature in capitals',
    change: (draft) => resign(draft, (signature) => `${signature.slice(0, -2)}AB`),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'no signature in its place',
    modes: MODES.filter((mode) => mode !== 'presigned'),
    change: (draft) => resign(draft, () => ''),
    codes: ['SignatureDoesNotMatch', 'AuthorizationHeaderMalformed'],
  },
  {
    what: 'a longer life',
    modes: ['presigned'],
    change: (draft) => ({
      ...draft,
      query: draft.query.map(([name, value]) => [name, name === 'X-Amz-Expires' ? '604800' : value]),
    }),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'fewer signed headers',
    modes: ['presigned'],
    change: (draft) => ({
      ...draft,
      query: draft.query.map(([name, value]) => [name, name === 'X-Amz-SignedHeaders' ? 'host' : value]),
    }),
    codes: ['AccessDenied'],
  },
  {
    what: 'a hoisted header',
    modes: ['presigned'],
    change: (draft) => ({ ...draft, query: [...draft.query, ['x-amz-meta-c', '1']] }),
    codes: ['SignatureDoesNotMatch'],
  },
];

function change(draft: Draft, name: string, value: string): Draft {
  return { ...draft, headers: draft.headers.map(([other, old]) => [other, other === name ? value : old]) };
}

/** Puts another signature in place of the one of a request. */
function resign(draft: Draft, by: (signature: string) => string): Draft {
  const pattern = /(?<=Signature=)[0-9a-f]{64}$/;
  return {
    ...draft,
    headers: draft.headers.map(([name, value]) => [name, value.replace(pattern, by)]),
    query: draft.query.map(([name, value]) => [name, name === 'X-Amz-Signature' ? by(value) : value]),
  };
}

test.each(TAMPERINGS)(
  'a signed request is worth nothing with $what',
  async ({ modes = MODES, change: tamper, codes }) => {
    for (const mode of modes) {
      for (const { name } of VERBS) {
        const draft = draftOf(name);
        const extra: [string, string][] = [
          ['x-amz-meta-a', 'one'],
          ['x-amz-meta-a', 'two'],
        ];
        const signed = sign({ ...draft, headers: [...draft.headers, ...extra] }, signer(mode));
        const tampered = tamper(signed);
        // Not every verb has what could be changed in this way.
        if (isDeepStrictEqual(tampered, signed)) continue;
        const answer = await send(origin, tampered);
        expect([400, 403], `${mode} ${name}: ${answer.text}`).toContain(answer.status);
        if (tampered.method !== 'HEAD') expect(codes, `${mode} ${name}: ${answer.text}`).toContain(answer.code);
      }
    }
  },
);

test.each(MODES)('a signature counts for fifteen minutes, or as long as the URL says (%s)', async (mode) => {
  const minutes = (count: number) => new Date(Date.now() + count * 60_000);
  const late = mode === 'presigned' ? 'AccessDenied' : 'RequestTimeTooSkewed';
  for (const { name, method } of VERBS) {
    for (const now of [minutes(-16), minutes(16), minutes(-60 * 24 * 400)]) {
      const answer = await send(origin, sign(draftOf(name), signer(mode, { now })));
      expect([answer.status, answer.code], `${name} ${now}`).toEqual([403, method === 'HEAD' ? '' : late]);
    }
  }
  for (const now of [minutes(-14), minutes(14)]) {
    const answer = await send(origin, sign(draftOf('GetObject'), signer(mode, { now, expires: 900 })));
    expect([answer.status, answer.text]).toEqual([200, 'hello']);
  }
});

test.each(MODES)('a signature that leaves out the host counts nowhere (%s)', async (mode) => {
  const signed = sign(draftOf('ListBuckets'), signer(mode)).headers.map(([name]) => name);
  const signedHeaders = signed.filter((name) => name.startsWith('x-amz-'));
  for (const { name, method } of VERBS) {
    const draft = { ...draftOf(name), headers: draftOf(name).headers.filter(([header]) => header === 'host') };
    const names = [...signedHeaders, 'content-type'].sort();
    const headers: [string, string][] = [...draft.headers, ['content-type', 'text/plain']];
    const answer = await send(origin, sign({ ...draft, headers }, signer(mode, { signedHeaders: names })));
    expect([answer.status, answer.code], name).toEqual([403, method === 'HEAD' ? '' : 'AccessDenied']);
  }
});

test.each(MODES)('a signature counts for one region (%s)', async (mode) => {
  for (const { name, method } of VERBS) {
    const answer = await send(origin, sign(draftOf(name), signer(mode, { region: 'eu-west-1' })));
    expect(answer.status, name).toBe(400);
    if (method !== 'HEAD') expect(answer.text).toContain('<Region>us-east-2</Region>');
  }
});

/** What can be done to a body on its way. Each mode says what it holds against that. */
const flip = (body: Buffer, at: number) =>
  Buffer.concat([body.subarray(0, at), Buffer.from([(body[at] ?? 0) ^ 1]), body.subarray(at + 1)]);
const CHUNK = 8192;

/** Where the n-th chunk lies in an aws-chunked body. */
function chunkAt(body: Buffer, number: number): [number, number] {
  let [start, end] = [0, 0];
  for (let index = 0; index <= number; index++) {
    start = end;
    const line = body.indexOf('\r\n', start);
    end = line + 2 + Number.parseInt(body.toString('latin1', start, line), 16) + 2;
  }
  return [start, end];
}

function rearrange(body: Buffer, order: number[]): Buffer {
  const chunks = order.map((number) => body.subarray(...chunkAt(body, number)));
  return Buffer.concat([...chunks, body.subarray(chunkAt(body, 3)[1])]);
}

const withBody = (draft: Draft, body: Buffer): Draft => ({ ...draft, body });
const SIGNED_CHUNKS: readonly Mode[] = ['chunks', 'chunks-trailer'];
const CHUNKED: readonly Mode[] = [...SIGNED_CHUNKS, 'unsigned-trailer'];

const BODIES: { what: string; modes: readonly Mode[]; change: (draft: Draft) => Draft; codes: string[] }[] = [
  {
    what: 'changed',
    modes: ['signed'],
    change: (draft) => withBody(draft, flip(draft.body, 100)),
    codes: ['XAmzContentSHA256Mismatch'],
  },
  {
    what: 'shorter',
    modes: ['signed'],
    change: (draft) => withBody(draft, draft.body.subarray(1)),
    codes: ['XAmzContentSHA256Mismatch'],
  },
  {
    what: 'empty',
    modes: ['signed'],
    change: (draft) => withBody(draft, Buffer.alloc(0)),
    codes: ['XAmzContentSHA256Mismatch'],
  },
  {
    what: 'changed in the first chunk',
    modes: SIGNED_CHUNKS,
    change: (draft) => withBody(draft, flip(draft.body, 200)),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'changed in the last chunk',
    modes: SIGNED_CHUNKS,
    change: (draft) => withBody(draft, flip(draft.body, chunkAt(draft.body, 3)[0] + 200)),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'changed',
    modes: ['unsigned-trailer'],
    change: (draft) => withBody(draft, flip(draft.body, 200)),
    codes: ['BadDigest'],
  },
  {
    what: 'with two chunks swapped',
    modes: SIGNED_CHUNKS,
    change: (draft) => withBody(draft, rearrange(draft.body, [1, 0, 2, 3])),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'with two chunks swapped',
    modes: ['unsigned-trailer'],
    change: (draft) => withBody(draft, rearrange(draft.body, [1, 0, 2, 3])),
    codes: ['BadDigest'],
  },
  {
    what: 'with a chunk twice',
    modes: CHUNKED,
    change: (draft) => withBody(draft, rearrange(draft.body, [0, 1, 1, 2, 3])),
    codes: ['SignatureDoesNotMatch', 'IncompleteBody'],
  },
  {
    what: 'without a chunk',
    modes: CHUNKED,
    change: (draft) => withBody(draft, rearrange(draft.body, [0, 2, 3])),
    codes: ['SignatureDoesNotMatch', 'IncompleteBody'],
  },
  {
    what: 'cut after a chunk',
    modes: CHUNKED,
    change: (draft) => withBody(draft, draft.body.subarray(0, chunkAt(draft.body, 1)[1])),
    codes: ['IncompleteBody'],
  },
  {
    what: 'cut within a chunk',
    modes: CHUNKED,
    change: (draft) => withBody(draft, draft.body.subarray(0, CHUNK + 4000)),
    codes: ['IncompleteBody'],
  },
  {
    what: 'cut before the last chunk',
    modes: CHUNKED,
    change: (draft) => withBody(draft, draft.body.subarray(0, chunkAt(draft.body, 3)[1])),
    codes: ['IncompleteBody'],
  },
  {
    what: 'without signatures of chunks',
    modes: SIGNED_CHUNKS,
    change: (draft) =>
      withBody(
        draft,
        Buffer.from(draft.body.toString('latin1').replaceAll(/;chunk-signature=[0-9a-f]{64}/g, ''), 'latin1'),
      ),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'with another trailer',
    modes: ['chunks-trailer', 'unsigned-trailer'],
    change: (draft) =>
      withBody(draft, Buffer.from(draft.body.toString('latin1').replace(/crc32:.{4}/, 'crc32:AAAA'), 'latin1')),
    codes: ['SignatureDoesNotMatch', 'BadDigest'],
  },
  {
    what: 'without a trailer',
    modes: ['chunks-trailer', 'unsigned-trailer'],
    change: (draft) =>
      withBody(draft, Buffer.from(draft.body.toString('latin1').replace(/x-amz-checksum-crc32:.*\r\n/, ''), 'latin1')),
    codes: ['InvalidRequest'],
  },
  {
    what: 'without the signature of its trailer',
    modes: ['chunks-trailer'],
    change: (draft) =>
      withBody(
        draft,
        Buffer.from(draft.body.toString('latin1').replace(/x-amz-trailer-signature:.*\r\n/, ''), 'latin1'),
      ),
    codes: ['SignatureDoesNotMatch'],
  },
  {
    what: 'with more behind its end',
    modes: CHUNKED,
    change: (draft) => withBody(draft, Buffer.concat([draft.body, Buffer.from('5\r\nextra\r\n')])),
    codes: ['InvalidRequest'],
  },
];

test.each(BODIES)('a body that arrives $what is not stored ($modes)', async ({ modes, change: tamper, codes }) => {
  for (const mode of modes) {
    for (const name of ['PutObject', 'PutObject over another', 'UploadPart']) {
      const answer = await send(origin, tamper(sign(draftOf(name), signer(mode, { chunkSize: CHUNK }))));
      expect([400, 403], `${mode} ${name}: ${answer.text}`).toContain(answer.status);
      expect(codes, `${mode} ${name}: ${answer.text}`).toContain(answer.code);
    }
  }
});

test('a wrong checksum that is signed is a wrong checksum all the same', async () => {
  for (const mode of ['chunks-trailer', 'unsigned-trailer'] as const) {
    const answer = await send(origin, sign(draftOf('PutObject'), signer(mode, { checksum: 'AAAAAA==' })));
    expect([answer.status, answer.code]).toEqual([400, 'BadDigest']);
  }
  for (const [name, value, code] of [
    ['content-md5', 'XUFAKrxLKna5cZ2REBfFkg==', 'BadDigest'],
    ['content-md5', 'nonsense', 'InvalidDigest'],
    ['x-amz-checksum-sha256', '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=', 'BadDigest'],
    ['x-amz-checksum-crc32', 'AAAAAA==', 'BadDigest'],
    ['x-amz-checksum-crc64nvme', 'AAAA', 'InvalidRequest'],
  ] as const) {
    const draft = draftOf('PutObject');
    const answer = await send(
      origin,
      sign({ ...draft, headers: [...draft.headers, [name, value]] }, signer('unsigned')),
    );
    expect([answer.status, answer.code], name).toEqual([400, code]);
  }
});

test.each([
  ['presigned', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 400, 'InvalidRequest'],
  ['presigned', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 400, 'InvalidRequest'],
  ['presigned', 'constructor', 400, 'InvalidArgument'],
  ['unsigned', 'constructor', 400, 'InvalidArgument'],
  ['unsigned', 'e3b0', 400, 'InvalidArgument'],
  ['unsigned', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 501, 'NotImplemented'],
] as const)('signed as it should be (%s), a payload of the kind %s is refused', async (mode, payload, status, code) => {
  const draft = draftOf('PutObject');
  const query: [string, string][] = mode === 'presigned' ? [['X-Amz-Content-Sha256', payload]] : [];
  const answer = await send(origin, sign({ ...draft, query }, signer(mode, { payload })));
  expect([answer.status, answer.code]).toEqual([status, code]);
});

test('a signature in both places is one too many', async () => {
  const signed = sign(draftOf('PutObject'), signer('presigned'));
  const [, value = ''] =
    sign(draftOf('PutObject'), signer('signed')).headers.find(([name]) => name === 'authorization') ?? [];
  const answer = await send(origin, { ...signed, headers: [...signed.headers, ['authorization', value]] });
  expect([answer.status, answer.code]).toEqual([400, 'InvalidArgument']);
});

test('a body without a length is not waited for', async () => {
  const draft = draftOf('PutObject');
  const signed = sign(draft, signer('unsigned'));
  const answer = await send(origin, { ...signed, headers: [...signed.headers, ['transfer-encoding', 'chunked']] });
  expect([answer.status, answer.code]).toEqual([411, 'MissingContentLength']);
});
