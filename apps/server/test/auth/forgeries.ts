import { createHmac, createPublicKey, randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { SECRETS, type TestApp } from '../harness.ts';
import { encodePart, ownToken } from './client.ts';

/** Makes a token that must open nothing of a good token's claims. */
export type Forge = (app: TestApp, claims: JWTPayload) => string | Promise<string>;

const LATER = 9_999_999_999;

/** @param header a JSON text can say what an object cannot */
function hmac(header: object | string, claims: object, secret: string): string {
  const signed = `${encodePart(header)}.${encodePart(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

const publicJwk = async ({ as }: TestApp) => (await as('nobody').get('/.well-known/jwks.json')).body.keys[0];
const ourKid = async (app: TestApp) => String((await publicJwk(app)).kid);

async function publicPem(app: TestApp): Promise<string> {
  const key = createPublicKey({ key: await publicJwk(app), format: 'jwk' });
  return String(key.export({ type: 'spki', format: 'pem' }));
}

/** A token signed with a key of the attacker, which its own header offers for verification. */
async function selfMade(claims: JWTPayload, header: Record<string, unknown>) {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  return new SignJWT(claims)
    .setProtectedHeader({ alg: 'RS256', ...header, ...(header.jwk ? { jwk } : {}) })
    .sign(privateKey);
}

async function retold(app: TestApp, claims: JWTPayload): Promise<string> {
  const [head, , signature] = (await ownToken(app, { ...claims, sub: randomUUID() })).split('.');
  return [head, encodePart(claims), signature].join('.');
}

/** What our key has not signed. */
export const FORGED_SIGNATURES: [string, Forge][] = [
  ['alg none', (_, claims) => new UnsecuredJWT(claims).encode()],
  [
    'alg None under our kid',
    async (app, claims) => `${part({ alg: 'None', kid: await ourKid(app) })}.${part(claims)}.`,
  ],
  ['a signature cut off', async (app, claims) => (await ownToken(app, claims)).replace(/[^.]+$/, '')],
  ['changed claims', retold],
  ['HS256 with the public key as secret', async (app, claims) => hmac({ alg: 'HS256' }, claims, await publicPem(app))],
  [
    'HS256 with the public key as secret, under our kid',
    async (app, claims) => hmac({ alg: 'HS256', kid: await ourKid(app) }, claims, await publicPem(app)),
  ],
  [
    'HS256 with the shared secret under our kid',
    async (app, claims) => hmac({ alg: 'HS256', kid: await ourKid(app) }, claims, SECRETS.JWT_SECRET),
  ],
  ['HS256 with a wrong secret', (_, claims) => hmac({ alg: 'HS256' }, claims, 'x'.repeat(32))],
  ['HS256 with an empty secret', (_, claims) => hmac({ alg: 'HS256' }, claims, '')],
  [
    'HS512 with the shared secret',
    (_, claims) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'HS512' }).sign(new TextEncoder().encode(SECRETS.JWT_SECRET)),
  ],
  ['RS256 of our own without kid', (app, claims) => ownToken(app, claims, { kid: undefined })],
  ['RS256 of our own under an unknown kid', (app, claims) => ownToken(app, claims, { kid: 'kid_unknown' })],
  ['RS256 of our own that says PS256', (app, claims) => ownToken(app, claims, { alg: 'PS256' })],
  ['another key under our kid', async (app, claims) => selfMade(claims, { kid: await ourKid(app) })],
  ['a kid that climbs to an empty file', (_, claims) => selfMade(claims, { kid: '../../../../dev/null' })],
  ['a kid with SQL', (_, claims) => selfMade(claims, { kid: "x' union select 'key" })],
  ['a kid that is an object', (_, claims) => `${part({ alg: 'HS256', kid: {} })}.${part(claims)}.x`],
  ['an embedded jwk', (_, claims) => selfMade(claims, { jwk: true })],
  ['a jku', (_, claims) => selfMade(claims, { kid: 'theirs', jku: 'https://attacker.example/jwks.json' })],
  ['an x5u', (_, claims) => selfMade(claims, { x5u: 'https://attacker.example/cert.pem' })],
  ['an x5c', (_, claims) => selfMade(claims, { x5c: ['MIIB'] })],
  // Of a member that is stated twice the last one counts (RFC 7515, section 4), here and wherever else it is read.
  [
    'an alg that is none at the second mention',
    async (app, claims) => `${part(`{"alg":"RS256","kid":"${await ourKid(app)}","alg":"none"}`)}.${part(claims)}.`,
  ],
  [
    'an alg that is none at the first mention',
    async (app, claims) => `${part(`{"alg":"none","kid":"${await ourKid(app)}","alg":"RS256"}`)}.${part(claims)}.`,
  ],
  [
    'an alg that is HS256 at the second mention, with the public key as secret',
    async (app, claims) =>
      hmac(`{"alg":"RS256","kid":"${await ourKid(app)}","alg":"HS256"}`, claims, await publicPem(app)),
  ],
  [
    'a kid that is ours at the second mention, with the shared secret',
    async (app, claims) =>
      hmac(`{"kid":"theirs","alg":"HS256","kid":"${await ourKid(app)}"}`, claims, SECRETS.JWT_SECRET),
  ],
];

const part = encodePart;
const without = (claims: JWTPayload, name: string) => ({ ...claims, [name]: undefined });
const soon = () => Math.floor(Date.now() / 1000) + 3600;

/** The claims with one stated twice, which ends with the second value. */
const doubled = (claims: JWTPayload, name: string, [first, last]: [unknown, unknown]) =>
  `{"${name}":${JSON.stringify(first)},${JSON.stringify(without(claims, name)).slice(1, -1)},"${name}":${JSON.stringify(last)}}`;

/** What no good token says, signed with our own key. */
export const FORGED_CLAIMS: [string, Forge][] = [
  [
    'an unknown crit',
    (app, claims) => ownToken(app, claims, { crit: ['https://example.com/x'], 'https://example.com/x': 1 }),
  ],
  ['a crit that is no list', (app, claims) => ownToken(app, claims, { crit: 'b64' })],
  ['an unencoded payload', (app, claims) => ownToken(app, claims, { crit: ['b64'], b64: false })],
  ['expired', (app, claims) => ownToken(app, { ...claims, exp: 1 })],
  ['no exp', (app, claims) => ownToken(app, without(claims, 'exp'))],
  ['an exp that is a text', (app, claims) => ownToken(app, { ...claims, exp: String(LATER) as never })],
  ['not valid yet', (app, claims) => ownToken(app, { ...claims, nbf: soon() })],
  ['made in the future', (app, claims) => ownToken(app, { ...claims, iat: soon() })],
  ['made for somebody else', (app, claims) => ownToken(app, { ...claims, aud: 'another-api' })],
  [
    'made for us and somebody else',
    (app, claims) => ownToken(app, { ...claims, aud: ['insforge-api', 'another-api'] }),
  ],
  ['of another issuer', (app, claims) => ownToken(app, { ...claims, iss: 'https://attacker.example' })],
  ['no sub', (app, claims) => ownToken(app, without(claims, 'sub'))],
  ['an empty sub', (app, claims) => ownToken(app, { ...claims, sub: '' })],
  ['a sub that is a number', (app, claims) => ownToken(app, { ...claims, sub: 7 as never })],
  [
    'the token id of no grant',
    (app, claims) =>
      ownToken(app, {
        ...claims,
        client_id: 'clf_x',
        iss: 'insforge',
        aud: 'insforge-api',
        jti: 'unknown',
        scope: 'openid api',
      }),
  ],
  ['expired at the second mention', (app, claims) => ownToken(app, doubled(claims, 'exp', [LATER, 1]))],
  ['not valid yet at the second mention', (app, claims) => ownToken(app, doubled(claims, 'nbf', [1, LATER]))],
  ['made in the future at the second mention', (app, claims) => ownToken(app, doubled(claims, 'iat', [1, LATER]))],
  [
    'made for somebody else at the second mention',
    (app, claims) => ownToken(app, doubled(claims, 'aud', ['insforge-api', 'another-api'])),
  ],
  [
    'of another issuer at the second mention',
    (app, claims) => ownToken(app, doubled(claims, 'iss', ['insforge', 'https://attacker.example'])),
  ],
  ['too many parts', async (app, claims) => `${await ownToken(app, claims)}.x`],
];

export interface Place {
  method: 'get' | 'post' | 'patch';
  path: string;
  body?: object;
  headers?: Record<string, string>;
  /** The status that a good token gets, of a program too unless only people themselves may come. */
  good: number;
  inPerson?: true;
}

const TUS = { 'tus-resumable': '1.0.0', 'upload-length': '3', 'upload-metadata': 'bucketName Yg==,objectName Yg==' };

/** Where users show their tokens: each guard of each feature. The S3 protocol takes none. */
export const USER_PLACES: Place[] = [
  { method: 'get', path: '/api/auth/sessions/current', good: 200 },
  { method: 'patch', path: '/api/auth/profiles/current', body: { profile: {} }, good: 200 },
  { method: 'get', path: `/api/auth/profiles/${randomUUID()}`, good: 404 },
  { method: 'post', path: '/api/auth/users', body: { email: 'eve@example.com', password: 'long enough 1' }, good: 200 },
  { method: 'get', path: '/api/auth/sessions', good: 200, inPerson: true },
  { method: 'get', path: '/api/auth/factors', good: 200, inPerson: true },
  { method: 'get', path: '/api/oauth/v1/grants', good: 200, inPerson: true },
  { method: 'get', path: '/auth/v1/profile', good: 200 },
  { method: 'get', path: '/api/database/records/none', good: 404 },
  { method: 'post', path: '/api/database/rpc/none', body: {}, good: 404 },
  { method: 'get', path: '/api/storage/buckets/none/objects', good: 404 },
  { method: 'get', path: '/api/storage/buckets/none/objects/f', good: 404 },
  { method: 'get', path: '/api/storage/buckets/none/download-strategy/objects/f', good: 404 },
  { method: 'post', path: '/api/storage/buckets/none/objects/f/download-strategy', body: {}, good: 404 },
  { method: 'post', path: '/api/storage/buckets/none/objects/f/confirm-upload', body: { size: 1 }, good: 404 },
  { method: 'post', path: '/storage/v1/upload/resumable', headers: TUS, good: 404 },
  { method: 'post', path: '/api/email/send-raw', body: { to: 'a@example.com', subject: 's', html: 'h' }, good: 200 },
];

/** Where admins show theirs. */
export const ADMIN_PLACES: Place[] = [
  { method: 'get', path: '/api/auth/admin/sessions/current', good: 200 },
  { method: 'get', path: '/api/auth/users', good: 200 },
  { method: 'get', path: '/api/auth/config', good: 200 },
  { method: 'get', path: '/api/auth/pages', good: 200 },
  { method: 'get', path: '/api/oauth/v1/clients', good: 200 },
  { method: 'get', path: '/api/email/outbox', good: 200 },
  { method: 'get', path: '/api/metadata', good: 200 },
  { method: 'get', path: '/api/database/admin/tables/none/records', good: 404 },
  { method: 'get', path: '/api/database/tables', good: 200 },
  { method: 'get', path: '/api/database/migrations', good: 200 },
  {
    method: 'post',
    path: '/api/database/advance/rawsql',
    body: { query: 'create table public.taken (id int)' },
    good: 200,
  },
  { method: 'post', path: '/api/database/advance/export', body: { format: 'sql' }, good: 200 },
  { method: 'get', path: '/api/storage/buckets', good: 200 },
  { method: 'get', path: '/api/storage/s3/access-keys', good: 200 },
  { method: 'get', path: '/api/usage/mcp', good: 200 },
  { method: 'post', path: '/api/secrets/anon-key/rotate', body: {}, good: 200 },
];

/** Shows a token at a place. */
export function show({ as }: TestApp, token: string, { method, path, body, headers }: Place) {
  const all = { authorization: `Bearer ${token}`, ...headers };
  const client = as('nobody');
  return method === 'get' ? client.get(path, all) : client[method](path, body, all);
}
