%% SPDX-License-Identifier: Apache-2.0
%% @doc Erlang code that was written for ErlPort. One line has changed: where the instance comes
%% from. With ErlPort's own module `python' on the code path it is called as before.
-module(word_count).

-export([run/1]).

%% @doc Count the words of two texts: by a call, and by a message.
-spec run({binary(), binary()}) -> {pos_integer(), pos_integer()}.
run({Called, Sent}) ->
    {ok, Python} = hornbeam_erlport:start([]),    % was: python:start([{python_path, "."}])
    One = hornbeam_erlport:call(Python, app, count, [Called]),    % python:call does the same
    ok = hornbeam_erlport:call(Python, app, register_handler, [self()]),
    Python ! Sent,
    receive
        {counted, Two} ->
            ok = hornbeam_erlport:stop(Python),
            {One, Two}
    after 5000 ->
        error(no_answer)
    end.
