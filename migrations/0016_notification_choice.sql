-- How a person wants their mails; who has no row wants them as the installation is set.
CREATE TABLE notification_choice (
    person_id TEXT PRIMARY KEY REFERENCES person (id),
    mail      TEXT NOT NULL CHECK (mail IN ('usual', 'each', 'together'))
) STRICT, WITHOUT ROWID;
