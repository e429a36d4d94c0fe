%% SPDX-License-Identifier: Apache-2.0
%% @doc The OTP application: starts the supervision tree, shows our log events.
-module(hornbeam_app).
-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Arguments) ->
    %% A handler without filters shows every domain; one that drops unknown domains is told of ours.
    _ = logger:add_handler_filter(
        default, hornbeam, {fun logger_filters:domain/2, {log, sub, [hornbeam]}}
    ),
    hornbeam_sup:start_link().

-spec stop(term()) -> ok.
stop(_State) ->
    _ = logger:remove_handler_filter(default, hornbeam),
    ok.
