import { createHash, randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { CLIENT, serve } from './oauth-browser.ts';

/** What the provider does. Tests change it while it runs. */
interface Script {
  /** The claims of the next ID tokens; laid over correct ones. */
  claims: JWTPayload;
  /** Signs ID tokens with a key that is not in its key set. */
  signsWithForeignKey: boolean;
  /** More parameters of the answer to the app. */
  answer: Record<string, string>;
}

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
  const [own, foreign] = await Promise.all([generateKeyPair('RS256'), generateKeyPair('RS256')]);
  const keys = [{ ...(await exportJWK(own.publicKey)), kid: 'key-1', alg: 'RS256', use: 'sig' }];
  const codes = new Map<string, { nonce?: string | undefined; challenge?: string | undefined }>();
  const script: Script = { claims: {}, signsWithForeignKey: false, answer: {} };

  const idToken: ScriptedOpenId['idToken'] = (claims, header = {}) =>
    new SignJWT({ iss: issuer, aud: CLIENT.id, ...claims })
      .setProtectedHeader({ alg: 'RS256', kid: 'key-1', ...header })
      .setIssuedAt(claims.iat ?? Math.floor(Date.now() / 1000))
      .setExpirationTime(claims.exp ?? '5m')
      .sign(script.signsWithForeignKey ? foreign.privateKey : own.privateKey);

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
      id_token_signing_alg_values_supported: ['RS256'],
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
