-- Each replica that polls a watch leaves its two clocks, so that any of them sees whether the clock was set since it polled last.

CREATE TABLE watch_clocks (
    release_id bigint           NOT NULL REFERENCES watches,
    instance   bigint           NOT NULL,            -- the process
    at         timestamptz      NOT NULL,            -- its last poll; moves along when the clock is set
    steady     double precision NOT NULL,            -- and its seconds on a clock that nobody can set
    PRIMARY KEY (release_id, instance)
);

INSERT INTO watch_clocks (release_id, instance, at, steady)
SELECT release_id, steady_by, last_poll_at, steady FROM watches
WHERE state = 'running' AND last_poll_at IS NOT NULL AND steady_by IS NOT NULL AND steady IS NOT NULL;

ALTER TABLE watches DROP COLUMN steady_by, DROP COLUMN steady;
