/** What the signature of a JWT is made over (RFC 7515, section 5.1): the signature follows behind another dot. */
export function signingInput(header: { alg: string; typ: string; kid?: string }, claims: object): string {
  return `${encode(header)}.${encode(claims)}`;
}

const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
