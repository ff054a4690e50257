import { sign } from 'node:crypto';
import { decodeJwt, type JWTPayload } from 'jose';
import { expect } from 'vitest';
import { createCipher } from '../../src/platform/secrets/cipher.ts';
import { type Reply, SECRETS, type TestApp } from '../harness.ts';

export const ALICE = { email: 'alice@example.com', password: 'correct horse battery' };
export const BOB = { email: 'bob@example.com', password: 'staple of the other' };

export const USER_COOKIE = 'insforge_refresh_token';
export const ADMIN_COOKIE = 'insforge_admin_refresh_token';

/** What a browser makes of the Set-Cookie headers of a reply: value and attributes by name. */
export function cookiesOf({ headers }: Reply): Record<string, { value: string; attributes: string[] }> {
  const lines = [headers['set-cookie'] ?? []].flat().map(String);
  return Object.fromEntries(
    lines.map((line) => {
      const [pair = '', ...attributes] = line.split('; ');
      const [name = '', value = ''] = pair.split('=');
      return [name, { value, attributes: attributes.sort() }];
    }),
  );
}

/** What a browser remembers of a session: its cookie, and the CSRF token that the app keeps. */
export interface Browser {
  cookie: string;
  csrf: string;
}

export function browserOf(reply: Reply, name = USER_COOKIE): Browser {
  expect(reply).toMatchObject({ status: 200, body: { csrfToken: expect.any(String) } });
  const { value } = cookiesOf(reply)[name] ?? {};
  expect(value).toBeTruthy();
  return { cookie: `${name}=${value}`, csrf: reply.body.csrfToken };
}

export const headersOf = ({ cookie, csrf }: Browser) => ({ cookie, 'x-csrf-token': csrf });

/** Signs up and returns what a client without cookies holds. */
export async function signUp({ as }: TestApp, who = ALICE) {
  const { status, body } = await as('anon').post('/api/auth/users?client_type=mobile', who);
  expect(status).toBe(200);
  return body as { user: { id: string }; accessToken: string; refreshToken: string };
}

export const refresh = ({ as }: TestApp, refreshToken: string) =>
  as('nobody').post('/api/auth/refresh?client_type=mobile', { refreshToken });

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

export const sessionIdOf = (token: string) => String(decodeJwt(token).sid);

/** A token with these claims, or this text for claims, signed with the server's own private key whatever they say. */
export async function ownToken({ sql }: TestApp, claims: JWTPayload | string, header: object = {}): Promise<string> {
  const rows = await sql<{ key: string; value_ciphertext: string }>(
    `select key, value_ciphertext from system.secrets where key in ('JWT_PRIVATE_KEY', 'JWT_KEY_ID')`,
  );
  const cipher = createCipher(SECRETS.ENCRYPTION_KEY);
  const read = (name: string) => cipher.decrypt(rows.find(({ key }) => key === name)?.value_ciphertext ?? '');
  const signed = `${encodePart({ alg: 'RS256', kid: read('JWT_KEY_ID'), ...header })}.${encodePart(claims)}`;
  return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), read('JWT_PRIVATE_KEY')).toString('base64url')}`;
}

/** One of the first two parts of a JWT. A text, which can say what an object cannot, is taken as it is. */
export const encodePart = (part: object | string) =>
  Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');
