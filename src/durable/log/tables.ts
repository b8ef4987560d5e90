/** The tables of the log. */
export const LOG = 'log';
export const LOG_CHANNEL = 'log-channel';
export const LOG_STATE = 'log-state';
export const WATERMARK = 'watermark';
export const REMEMBERED = 'remembered';
export const CERTIFICATE = 'certificate';
