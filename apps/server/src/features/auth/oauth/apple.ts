import { importPKCS8, SignJWT } from 'jose';
import { z } from 'zod';
import { AppError } from '#platform/errors.ts';

/** What a developer gets from Apple in place of a client secret. */
const KeySchema = z.object({
  teamId: z.string().min(1),
  keyId: z.string().min(1),
  privateKey: z.string().includes('PRIVATE KEY'),
});

const SECRET_SECONDS = 3600;

/**
 * The client secret that Apple wants: a token signed with the developer's key.
 * https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret
 * @param stored `{"teamId","keyId","privateKey"}` as JSON, or a token that was made elsewhere
 * @throws AppError AUTH_OAUTH_CONFIG_ERROR
 */
export async function appleClientSecret(stored: string, clientId: string): Promise<string> {
  if (!stored.startsWith('{')) return stored;
  try {
    const { teamId, keyId, privateKey } = KeySchema.parse(JSON.parse(stored));
    // Environment variables and forms often keep the line ends of a key file as \n.
    const key = await importPKCS8(privateKey.replaceAll('\\n', '\n'), 'ES256');
    return await new SignJWT()
      .setProtectedHeader({ alg: 'ES256', kid: keyId })
      .setIssuer(teamId)
      .setSubject(clientId)
      .setAudience('https://appleid.apple.com')
      .setIssuedAt()
      .setExpirationTime(`${SECRET_SECONDS}s`)
      .sign(key);
  } catch (cause) {
    throw new AppError('AUTH_OAUTH_CONFIG_ERROR', 'The client secret of apple is not usable', {
      cause,
      nextActions:
        'PUT /api/auth/oauth/apple/config with clientSecret = JSON of {"teamId","keyId","privateKey"}; privateKey is the text of the .p8 file.',
    });
  }
}

const UserSchema = z.object({
  name: z.object({ firstName: z.string().default(''), lastName: z.string().default('') }),
});

/** The name, which Apple sends beside the code, and only the first time. */
export function appleName(form: URLSearchParams): string | undefined {
  let user: unknown;
  try {
    user = JSON.parse(form.get('user') ?? '{}');
  } catch {
    return undefined;
  }
  const { data } = UserSchema.safeParse(user);
  return data && `${data.name.firstName} ${data.name.lastName}`.trim().slice(0, 100);
}
