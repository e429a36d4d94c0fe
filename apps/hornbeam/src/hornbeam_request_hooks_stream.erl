%% SPDX-License-Identifier: Apache-2.0
%% @doc The `cowboy_stream' handler in front of `hornbeam_stream' when the option `hooks' is given:
%% what comes passes on_request, what goes passes on_response, failures pass on_error.
%%
%% Runs in the connection process. Without the option it is not in the listener's list of handlers
%% at all. A hook sees a request only after the edge has let it through; what it changes is checked
%% by the edge again. What cannot be read as a request at all is seen by no hook.
-module(hornbeam_request_hooks_stream).
-behaviour(cowboy_stream).

-export([init/3, data/4, info/3, terminate/3, early_error/5]).

-record(hooked, {
    hooks :: hornbeam_request_hooks:hooks(),
    request :: hornbeam_request_hooks:request(),
    context :: hornbeam_response:context(),
    %% hornbeam_stream's own; undefined when the request did not get that far
    next :: term(),
    %% nothing more is sent: a hook has failed in the middle
    is_over = false :: boolean()
}).

-define(NEXT, hornbeam_stream).

-spec init(cowboy_stream:streamid(), cowboy_req:req(), cowboy:opts()) ->
    {cowboy_stream:commands(), #hooked{}}.
init(StreamID, #{hornbeam_hooked := View} = Req, Opts) ->
    %% The second time, behind hornbeam_http1_chunked.
    pass(StreamID, Req, Opts, new(View, Req, Opts));
init(StreamID, Req, #{hornbeam := #{hooks := Hooks, limits := Limits}} = Opts) ->
    Check = fun(Changed) -> hornbeam_edge:check(Changed, Limits) end,
    case hornbeam_http1_turn:is_cut() orelse Check(Req) of
        ok ->
            Hooked = new(hornbeam_request_hooks:view(Req), Req, Opts),
            Outcome = hornbeam_request_hooks:request(Hooks, Req, Check),
            decided(Outcome, {StreamID, Req, Opts}, Hooked);
        _ ->
            %% The next one refuses it, or drops it.
            pass(StreamID, Req, Opts, new(hornbeam_request_hooks:view(Req), Req, Opts))
    end.

new(View, #{method := Method, version := Version}, #{hornbeam := Edge}) ->
    #{hooks := Hooks, pool := Pool, keepalive := Keepalive} = Edge,
    #hooked{
        hooks = Hooks,
        request = View,
        context = #{
            method => Method,
            version => Version,
            close => hornbeam_pool:is_draining(Pool),
            keepalive => Keepalive
        }
    }.

decided({ok, Req, View}, {StreamID, _, Opts}, Hooked) ->
    Seen = Req#{hornbeam_hooked => View},
    pass(StreamID, Seen, Opts, Hooked#hooked{request = View});
decided({refuse, Status, Headers, Body}, {_, #{has_body := HasBody}, _}, Hooked) ->
    Context = closing(HasBody, Hooked),
    out(hornbeam_response:whole(Status, Headers, iolist_to_binary(Body), Context), Hooked);
decided(failed, {_, #{has_body := HasBody}, _}, Hooked) ->
    out(hornbeam_response:refuse(500, <<"a hook failed">>, closing(HasBody, Hooked)), Hooked).

%% A body that nobody reads must not be taken for the next request: the connection ends here, and
%% what is pipelined behind it is not served.
closing(true, #hooked{context = #{version := Version} = Context}) when Version =/= 'HTTP/2' ->
    ok = hornbeam_http1_turn:cut(),
    Context#{close := true};
closing(_, #hooked{context = Context}) ->
    Context.

pass(StreamID, Req, Opts, Hooked) ->
    {Commands, Next} = ?NEXT:init(StreamID, Req, Opts),
    full(Commands, Hooked#hooked{next = Next}).

-spec data(cowboy_stream:streamid(), cowboy_stream:fin(), binary(), #hooked{}) ->
    {cowboy_stream:commands(), #hooked{}}.
data(_, _, _, #hooked{next = undefined} = Hooked) ->
    {[], Hooked};
data(StreamID, Fin, Data, #hooked{next = Next0} = Hooked) ->
    {Commands, Next} = ?NEXT:data(StreamID, Fin, Data, Next0),
    full(Commands, Hooked#hooked{next = Next}).

%% Before a worker has the request, 503 means that the queue is full.
full(Commands, Hooked) ->
    case lists:keyfind(response, 1, Commands) of
        {response, 503, _, _} -> out(failed(queue_full, <<>>, Commands, Hooked), Hooked);
        _ -> out(Commands, Hooked)
    end.

-spec info(cowboy_stream:streamid(), term(), #hooked{}) -> {cowboy_stream:commands(), #hooked{}}.
info(_, {response, _, _, _} = Response, #hooked{next = undefined} = Hooked) ->
    %% Cowboy ends a stream that answered nothing.
    {[Response], Hooked};
info(_, _, #hooked{next = undefined} = Hooked) ->
    {[], Hooked};
info(StreamID, Message, #hooked{next = Next0} = Hooked0) ->
    {Commands, Next} = ?NEXT:info(StreamID, Message, Next0),
    Hooked = Hooked0#hooked{next = Next},
    case Message of
        {hornbeam, _, _, {abort, _, Text}} ->
            out(failed(app_failed, Text, Commands, Hooked), Hooked);
        {hornbeam, _, _, {failed, Reason}} ->
            out(failed(Reason, <<>>, Commands, Hooked), Hooked);
        _ ->
            out(Commands, Hooked)
    end.

%% The connection header says what becomes of the connection, which a hook does not know.
failed(Reason, Text, Commands, #hooked{hooks = Hooks, request = Request, context = Context}) ->
    Response = lists:keyfind(response, 1, Commands),
    Failure = #{reason => Reason, status => status(Response), text => Text},
    case {hornbeam_request_hooks:error(Hooks, Failure, Request), Response} of
        {{ok, Status, Headers, Body}, {response, _, Old, _}} ->
            Kept = maps:merge(Headers, maps:with([<<"connection">>], Old)),
            [New | _] = hornbeam_response:whole(Status, Kept, iolist_to_binary(Body), Context),
            lists:keyreplace(response, 1, Commands, New);
        _ ->
            Commands
    end.

status({response, Status, _, _}) -> Status;
status(false) -> undefined.

-spec terminate(cowboy_stream:streamid(), cowboy_stream:reason(), #hooked{}) -> ok.
terminate(StreamID, _, #hooked{next = undefined}) ->
    hornbeam_http1_turn:ended(StreamID);
terminate(StreamID, Reason, #hooked{next = Next}) ->
    _ = ?NEXT:terminate(StreamID, Reason, Next),
    ok.

-spec early_error(
    cowboy_stream:streamid(),
    cowboy_stream:reason(),
    cowboy_stream:partial_req(),
    Resp,
    cowboy:opts()
) -> Resp when Resp :: cowboy_stream:resp_command().
early_error(StreamID, Reason, Partial, Response, Opts) ->
    ?NEXT:early_error(StreamID, Reason, Partial, Response, Opts).

%%% Commands out

out(_, #hooked{is_over = true} = Hooked) ->
    {[], Hooked};
out(Commands, Hooked) ->
    out(Commands, [], Hooked).

out([], Done, Hooked) ->
    {lists:reverse(Done), Hooked};
out([Command | Rest], Done, Hooked) ->
    case command(Command, Hooked) of
        {ok, New} -> out(Rest, [New | Done], Hooked);
        failed -> {lists:reverse(Done, failure(Hooked)), Hooked#hooked{is_over = true}}
    end.

command({response, Status, Headers, Body}, #hooked{hooks = Hooks, request = Request} = Hooked) ->
    case hornbeam_request_hooks:response(Hooks, Status, {Headers, Body}, Request) of
        {ok, Status, Headers, Body} -> {ok, {response, Status, Headers, Body}};
        {ok, New, NewHeaders, NewBody} -> {ok, whole(New, NewHeaders, NewBody, Hooked)};
        failed -> failed
    end;
command({headers, Status, Headers}, #hooked{hooks = Hooks, request = Request}) ->
    case hornbeam_request_hooks:response(Hooks, Status, {Headers, streamed}, Request) of
        {ok, New, NewHeaders, streamed} -> {ok, {headers, New, NewHeaders}};
        failed -> failed
    end;
command({switch_protocol, Headers, hornbeam_http1_chunked, {Id, Req, ?NEXT}}, _) ->
    {ok, {switch_protocol, Headers, hornbeam_http1_chunked, {Id, Req, ?MODULE}}};
command(Command, _) ->
    {ok, Command}.

whole(Status, Headers, Body, #hooked{context = Context}) ->
    [Response | _] = hornbeam_response:whole(Status, Headers, Body, Context),
    Response.

%% What the worker still sends is dropped; `stop' makes Cowboy end the stream, which tells it.
failure(#hooked{context = Context}) ->
    hornbeam_response:refuse(500, <<"a hook failed">>, Context#{close := true}).
