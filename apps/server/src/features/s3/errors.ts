import { S3_ERRORS, type S3ErrorCode } from '@insforge/contract/s3.ts';

/** What the gateway refuses a request with; rendered as S3's XML. */
export class S3Error extends Error {
  override readonly name = 'S3Error';
  readonly code: S3ErrorCode;
  readonly status: number;
  /** More elements of the answer, such as the region to sign for. */
  readonly details: Readonly<Record<string, string | number>>;

  constructor(
    code: S3ErrorCode,
    message: string = S3_ERRORS[code].message,
    details: Record<string, string | number> = {},
  ) {
    super(message);
    this.code = code;
    this.status = S3_ERRORS[code].status;
    this.details = details;
  }
}
