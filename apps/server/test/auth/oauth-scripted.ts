import { createHash, randomUUID } from 'node:crypto';
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { SECRETS } from '../harness.ts';
import { CLIENT, serve } from './oauth-browser.ts';

/** What the provider does. Tests change it while it runs. */
interface Script {
  /** The claims of the next ID tokens; laid over correct ones. */
  claims: JWTPayload;
  /** Somebody else makes the ID tokens, in its name. */
  forge?: Forge;
  /** More parameters of the answer to the app. */
  answer: Record<string, string>;
}

export type Forge = (claims: JWTPayload, publicKey: string) => string | Promise<string>;

const hs256 = (claims: JWTPayload, secret: string) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'key-1' }).sign(new TextEncoder().encode(secret));

/** ID tokens that are right in all but the signature. */
export const FORGED_ID_TOKENS: { why: string; forge: Forge }[] = [
  { why: 'no signature', forge: (claims) => new UnsecuredJWT(claims).encode() },
  { why: 'the public key of the provider as a secret', forge: hs256 },
  { why: 'the secret that the provider gave us', forge: (claims) => hs256(claims, CLIENT.secret) },
  { why: 'our own secret', forge: (claims) => hs256(claims, SECRETS.JWT_SECRET) },
  {
    why: 'a key of somebody else',
    forge: async (claims) => {
      const { privateKey } = await generateKeyPair('RS256');
      return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key-1' }).sign(privateKey);
    },
  },
];

export interface ScriptedOpenId {
  issuer: string;
  script: Script;
  /** The parameters of the last requests to the two endpoints. */
  authorized: URLSearchParams;
  redeemed: URLSearchParams;
  /** An ID token as the native SDK would give it to an app. */
  idToken(claims: JWTPayload, header?: Record<string, unknown>): Promise<string>;
}

/**
 * An OpenID Connect provider that can be made to lie, and that answers by form where it is asked to, as Apple does.
 */
export async function startScriptedOpenId(): Promise<ScriptedOpenId> {
  const { url: issuer, server } = await serve();
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const keys = [{ ...(await exportJWK(publicKey)), kid: 'key-1', alg: 'RS256', use: 'sig' }];
  const publicPem = await exportSPKI(publicKey);
  const codes = new Map<string, { nonce?: string | undefined; challenge?: string | undefined }>();
  const script: Script = { claims: {}, answer: {} };

  const idToken: ScriptedOpenId['idToken'] = async (given, header = {}) => {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, aud: CLIENT.id, iat: now, exp: now + 300, ...given };
    if (script.forge) return script.forge(claims, publicPem);
    return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key-1', ...header }).sign(privateKey);
  };

  const openId: ScriptedOpenId = {
    issuer,
    script,
    idToken,
    authorized: new URLSearchParams(),
    redeemed: new URLSearchParams(),
  };

  const authorize = (query: URLSearchParams) => {
    openId.authorized = query;
    const code = randomUUID();
    codes.set(code, { nonce: query.get('nonce') ?? undefined, challenge: query.get('code_challenge') ?? undefined });
    return new URLSearchParams({ code, state: query.get('state') ?? '', ...script.answer });
  };
  const token = async (body: URLSearchParams) => {
    openId.redeemed = body;
    const known = codes.get(body.get('code') ?? '');
    codes.delete(body.get('code') ?? '');
    const proof = createHash('sha256')
      .update(body.get('code_verifier') ?? '')
      .digest('base64url');
    if (!known || (known.challenge && known.challenge !== proof))
      return { status: 400, json: { error: 'invalid_grant' } };
    const claims = { sub: 'scripted-1', nonce: known.nonce, ...script.claims };
    return { status: 200, json: { access_token: 'at', token_type: 'Bearer', id_token: await idToken(claims) } };
  };

  server.on('request', async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', issuer);
    const send = (status: number, json: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    if (pathname.endsWith('/authorize')) {
      const answer = authorize(searchParams);
      const back = searchParams.get('redirect_uri') ?? '';
      if (searchParams.get('response_mode') !== 'form_post') {
        return response.writeHead(302, { location: `${back}?${answer}` }).end();
      }
      const fields = [...answer].map(
        ([name, value]) => `<input name="${name}" value="${value.replaceAll('"', '&quot;')}">`,
      );
      return response.end(`<form method="post" action="${back}">${fields.join('')}</form>`);
    }
    if (pathname.endsWith('/token')) {
      const { status, json } = await token(new URLSearchParams(await readAll(request)));
      return send(status, json);
    }
    if (pathname.endsWith('/keys')) return send(200, { keys });
    return send(200, {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/keys`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'HS256'],
      token_endpoint_auth_methods_supported: ['client_secret_post'],
    });
  });
  return openId;
}

export async function readAll(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
