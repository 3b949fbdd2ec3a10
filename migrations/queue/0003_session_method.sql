-- How somebody signed in and with what; of the provider's ID token a sealed copy, which it wants back to sign out.
ALTER TABLE session ADD COLUMN method TEXT NOT NULL DEFAULT 'password';
ALTER TABLE session ADD COLUMN device TEXT;
ALTER TABLE session ADD COLUMN id_token BLOB;
