%% SPDX-License-Identifier: Apache-2.0
%% @doc A stream handler that answers 200 to what `hornbeam_edge' lets pass (option `check' of the
%% listener; with `none' to everything), once the body is there.
%% Runs in: the connection processes of a test's listener.
-module(edge_handler).
-behaviour(cowboy_stream).

-export([listen/2, init/3, data/4, info/3, terminate/3, early_error/5]).

%% @doc A Cowboy listener on port 0 of 127.0.0.1.
-spec listen(ranch:ref(), hornbeam_edge:limits() | none) -> inet:port_number().
listen(Ref, Limits) ->
    {ok, _} = application:ensure_all_started(cowboy),
    Cowboy = case Limits of
        none -> #{};
        _ -> hornbeam_edge:cowboy_limits(Limits)
    end,
    {ok, _} = cowboy:start_clear(Ref, [{ip, {127, 0, 0, 1}}, {port, 0}],
        Cowboy#{stream_handlers => [?MODULE], check => Limits}),
    ranch:get_port(Ref).

-spec init(cowboy_stream:streamid(), cowboy_req:req(), cowboy:opts()) ->
    {cowboy_stream:commands(), waiting | answered}.
init(_, Req, #{check := Limits}) ->
    case {verdict(Req, Limits), Req} of
        {{refuse, Status, Reason}, _} -> {answer(Status, Reason), answered};
        {ok, #{has_body := false}} -> {answer(200, <<>>), answered};
        {ok, #{}} -> {[{flow, 65536}], waiting}
    end.

verdict(_, none) -> ok;
verdict(Req, Limits) -> hornbeam_edge:check(Req, Limits).

answer(Status, Body) ->
    Length = integer_to_binary(byte_size(Body)),
    [{response, Status, #{<<"content-length">> => Length, <<"connection">> => <<"close">>}, Body},
        stop].

-spec data(cowboy_stream:streamid(), cowboy_stream:fin(), binary(), State) ->
    {cowboy_stream:commands(), State | answered}.
data(_, fin, _, waiting) -> {answer(200, <<>>), answered};
data(_, nofin, _, State) -> {[{flow, 65536}], State}.

-spec info(cowboy_stream:streamid(), term(), State) -> {cowboy_stream:commands(), State}.
info(_, {response, _, _, _} = Response, State) -> {[Response], State};
info(_, _, State) -> {[], State}.

-spec terminate(cowboy_stream:streamid(), cowboy_stream:reason(), term()) -> ok.
terminate(_, _, _) -> ok.

-spec early_error(cowboy_stream:streamid(), cowboy_stream:reason(), cowboy_stream:partial_req(),
    Response,
    cowboy:opts()) -> Response.
early_error(_, _, _, Response, _) -> Response.
