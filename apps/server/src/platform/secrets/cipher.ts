import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

/** Encrypts what must be kept in the database but not be readable there. */
export interface Cipher {
  encrypt(plain: string): string;
  /** @throws when the text was made with another key or was changed */
  decrypt(ciphertext: string): string;
}

/**
 * AES-256-GCM under SHA-256 of the key; the text form is hex(iv):hex(tag):hex(ciphertext), with 16 bytes of
 * iv and tag each.
 */
export function createCipher(encryptionKey: string): Cipher {
  const key = createHash('sha256').update(encryptionKey).digest();
  return {
    encrypt(plain) {
      const iv = randomBytes(16);
      const cipher = createCipheriv('aes-256-gcm', key, iv);
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return [iv, cipher.getAuthTag(), body].map((part) => part.toString('hex')).join(':');
    },
    decrypt(ciphertext) {
      const [iv, tag, body] = ciphertext.split(':').map((part) => Buffer.from(part, 'hex'));
      if (iv?.length !== 16 || tag?.length !== 16 || !body) throw new Error('not a ciphertext of this server');
      const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: 16 }).setAuthTag(tag);
      return decipher.update(body, undefined, 'utf8') + decipher.final('utf8');
    },
  };
}
